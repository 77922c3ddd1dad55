"""Enqueues per second, of one client alone; no worker is up."""

from collections.abc import Iterable
from time import perf_counter

from tests.benchmarks.jobs import ONE, Job
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.session import Enqueue, Found, Session


def _take(session: Session) -> Found:
    contender, pace, found = session.contender, session.contender.pace, Found()
    warm_up, single = 50, session.runs(pace.enqueue)
    many = session.runs(pace.enqueue_bulk)
    session.stream(range(warm_up), ONE)
    found.figures["enqueue.single"] = single / _lasts(session.stream, range(single), ONE)
    contender.bulk(range(warm_up), ONE)
    found.figures["enqueue.bulk"] = many / _lasts(contender.bulk, range(many), ONE)
    return found


def _lasts(enqueue: Enqueue, numbers: Iterable[int], job: Job) -> float:
    began = perf_counter()
    enqueue(numbers, job)
    return perf_counter() - began


MEASURE = Measure(
    "enqueue", ("platform", "chain", "plain", "dbos", "procrastinate", "pgqueuer"), _take
)
