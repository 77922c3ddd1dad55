"""Runs per second: five steps and one, enqueued in bulk and one by one; and what a run costs."""

from tests.benchmarks.jobs import FIVE, ONE, Shape
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.session import Found, Session


def _take(session: Session) -> Found:
    contender, found = session.contender, Found()
    pace = contender.pace
    jobs = [job for job in (ONE, FIVE) if job in contender.jobs]
    with session.worker(Shape.RATE, *jobs) as workers:
        found.figures["one.bulk"] = session.rate(contender.bulk, session.runs(pace.one), ONE)
        if FIVE not in contender.jobs:
            return found
        found.figures["five.stream"] = session.rate(session.stream, session.runs(pace.stream), FIVE)
        runs = session.runs(pace.bulk)
        with session.meter(workers) as meter:
            before = meter.read()
            found.figures["five.bulk"] = session.rate(contender.bulk, runs, FIVE)
            spent = meter.read() - before
    found.figures |= {
        "five.cpu": spent.cpu / runs * 1000,
        "five.cpu.client": spent.client / runs * 1000,
        "five.cpu.worker": spent.worker / runs * 1000,
        "five.cpu.postgres": spent.postgres / runs * 1000,
        "five.cpu.valkey": spent.valkey / runs * 1000,
        "five.commits": spent.commits / runs,
        "five.wal": spent.wal_bytes / runs,
    }
    return found


MEASURE = Measure(
    "rate",
    ("platform", "chain", "memo", "plain", "dbos", "procrastinate", "pgqueuer", "restate"),
    _take,
)
