"""Single runs of five steps on an idle system: until the first step, until the end; the costs."""

import random

from tests.benchmarks.jobs import FIVE, Shape
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.session import Found, Session


def _take(session: Session) -> Found:
    found, plan = Found(), session.plan
    runs = max(5, round(plan.lone * min(1.0, session.contender.pace.lone / 80)))
    with (
        session.worker(Shape.RATE, FIVE) as workers,
        session.meter(workers) as meter,
    ):
        # Nobody waits any more for what comes then: longer than a shift lingers.
        _, found.samples["silence.done"] = session.lone(
            plan.silences, lambda: random.uniform(1.15, 1.25)
        )
        before = meter.read()
        first, done = session.lone(runs, lambda: random.uniform(0.0, 0.02))
        spent = meter.read() - before
    found.samples["lone.first"], found.samples["lone.done"] = first, done
    # With what an idle system does anyway, in that time.
    found.figures |= {
        "lone.commits": spent.commits / runs,
        "lone.wal": spent.wal_bytes / runs,
        "lone.commands": spent.commands / runs,
    }
    return found


MEASURE = Measure(
    "latency",
    ("platform", "chain", "dbos", "procrastinate", "pgqueuer", "restate"),
    _take,
)
