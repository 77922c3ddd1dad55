"""Many steps that wait, in one worker process: how far from as long as they would take alone."""

from collections.abc import Sequence
from functools import partial

from tests.benchmarks.jobs import ASLEEP, SECOND, SLEEP, Job, Shape
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.session import Found, Session

# 1,000 runs of 100 ms, 100 at a time, or of 1 s, all at a time: a second in the ideal.
_HUNDRED = (
    ("io.threads", Shape.THREADS, SLEEP),
    ("io.async", Shape.ASYNC, ASLEEP),
)
_THOUSAND = (("io.thousand", Shape.THOUSAND, SECOND),)


def _take(session: Session, places: Sequence[tuple[str, Shape, Job]]) -> Found:
    contender, found = session.contender, Found()
    runs = session.plan.io
    for name, shape, job in places:
        if shape in contender.shapes and job in contender.jobs:
            with session.worker(shape, job) as workers, session.meter(workers) as meter:
                before = meter.read()
                found.figures[name] = session.lasts(contender.bulk, runs, job)
                spent = meter.read() - before
            found.figures[f"{name}.cpu"] = spent.cpu
    return found


MEASURE = Measure(
    "io", ("platform", "chain", "dbos", "procrastinate"), partial(_take, places=_HUNDRED)
)
THOUSAND = Measure("thousand", ("platform",), partial(_take, places=_THOUSAND))
