"""Memory of a worker that nobody set up (ten children), and what the idle system does."""

from collections.abc import Sequence
from pathlib import Path
from time import sleep

from tests.benchmarks.jobs import ONE, Shape
from tests.benchmarks.machine import cpu_seconds, descendants, memory
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.meter import Meter, Reading
from tests.benchmarks.session import Found, Session
from tests.benchmarks.waiting import wait_for

_SUPERVISOR = b"taskplatform.supervisor"
# Children start and load one after the other, and a shift lingers for a second.
_CALM_SECONDS = 1.5
_CALM_CPU = 0.03
_LONGEST = 60.0
# An idle session of Postgres keeps what it counted to itself for so long.
_UNREPORTED = 10.5
# What the system does by itself it does in each of them; what strangers and the aftermath of an
# earlier load add is not in all. The least is nearest to what being idle costs.
_WINDOWS = 3


def _take(session: Session) -> Found:
    contender, plan = session.contender, session.plan
    with session.worker(Shape.DEFAULT, ONE) as workers, session.meter(workers) as meter:
        _calm(workers)
        idle = memory(descendants(workers))
        children = memory(_children(workers))
        found = Found(
            {
                "memory.pss": idle.pss,
                "memory.rss": idle.rss,
                "memory.child.pss": children.pss / len(_children(workers)),
                "memory.child.rss": children.rss / len(_children(workers)),
            }
        )
        if plan.idle:
            sleep(_UNREPORTED)
            spent = min(
                (_spent(meter, plan.idle) for _ in range(_WINDOWS)),
                key=lambda spent: spent.cpu - spent.client,
            )
            found.figures |= {
                "idle.cpu": (spent.cpu - spent.client) / spent.seconds * 100,
                "idle.transactions": spent.transactions / spent.seconds,
                "idle.commands": spent.commands / spent.seconds,
            }
        if contender.pace.one * 30 > plan.backlog:
            session.rate(contender.bulk, plan.backlog, ONE)
            _calm(workers)
            # Pages of files are shared with strangers: that these end looks like growth.
            found.figures["memory.growth"] = memory(descendants(workers)).own - idle.own
    return found


def _spent(meter: Meter, seconds: float) -> Reading:
    before = meter.read()
    sleep(seconds)
    return meter.read() - before


def _calm(workers: Sequence[int]) -> None:
    """Wait until they do next to nothing."""

    def calm() -> bool:
        before = cpu_seconds(workers)
        sleep(_CALM_SECONDS)
        return cpu_seconds(workers) - before < _CALM_CPU * _CALM_SECONDS

    wait_for(calm, _LONGEST, "the worker did not become idle")


def _children(workers: Sequence[int]) -> list[int]:
    """The pool's, without the supervisor."""
    return [
        pid
        for pid in descendants(workers)
        if pid not in workers and _SUPERVISOR not in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


MEASURE = Measure("memory", ("platform", "plain"), _take)
