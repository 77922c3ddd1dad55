"""The measurements of one contender in one round, each checked for exactly one execution."""

import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic_ns, sleep

from tests.benchmarks.contenders import LOOK, Broken, Contender, Platform, wait_for, working
from tests.benchmarks.machine import cpu_seconds
from tests.benchmarks.servers import FIVE, ONE, Servers

_WARM_UP = 100
_LONGEST = 120.0
# While rates are measured the client looks seldom: it shares the cores with the contender.
_SELDOM = 0.002


@dataclass(frozen=True)
class Sizes:
    """How many runs each measurement takes."""

    bulk: int
    stream: int
    one_step: int
    lone: int
    cold: int


@dataclass
class Found:
    """What one contender came to in one round. Rates in runs/s, times in ms."""

    bulk: float = 0.0
    stream: float = 0.0
    one_step: float = 0.0
    cpu_ms: float = 0.0
    lone: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    commits: float | None = None
    wal_bytes: float | None = None


class Session:
    """One contender's worker, alive for one round."""

    def __init__(self, contender: Contender, servers: Servers, sizes: Sizes) -> None:
        self._contender = contender
        self._marks = servers.marks
        self._sizes = sizes
        self._pids = (os.getpid(), *servers.pids)

    def measure(self) -> Found:
        """Take all measurements. Raises Broken."""
        found, sizes, contender = Found(), self._sizes, self._contender
        with working(contender):
            self._rate(contender.bulk, _WARM_UP, ONE)
            self._rate(contender.bulk, _WARM_UP, FIVE)
            found.one_step = self._rate(contender.bulk, sizes.one_step, ONE)
            found.stream = self._rate(self._stream, sizes.stream, FIVE)
            found.lone = self._lone(sizes.lone, lambda: random.uniform(0.0, 0.02))
            # Longer than a shift lingers: nobody is waiting for the run.
            found.cold = self._lone(sizes.cold, lambda: random.uniform(1.15, 1.25))
            before, wal = self._database()
            cpu = cpu_seconds(self._pids)
            found.bulk = self._rate(contender.bulk, sizes.bulk, FIVE)
            found.cpu_ms = (cpu_seconds(self._pids) - cpu) / sizes.bulk * 1000
            wal = self._database()[1] - wal
        if isinstance(contender, Platform):
            # Backends report their commits when they end, at the latest.
            found.commits = (self._database()[0] - before) / sizes.bulk
            found.wal_bytes = wal / sizes.bulk
        return found

    def _rate(self, enqueue: Callable[[Iterable[int], int], None], runs: int, steps: int) -> float:
        """Runs per second from before the first enqueue to the last end."""
        self._clear()
        began = monotonic_ns()
        enqueue(range(runs), steps)
        ended = self._end(runs * steps, _SELDOM)
        self._check(runs, steps)
        return runs / (ended - began) * 1e9

    def _stream(self, numbers: Iterable[int], steps: int) -> None:
        for number in numbers:
            self._contender.one(number, steps)

    def _lone(self, runs: int, gap: Callable[[], float]) -> list[float]:
        """Milliseconds of single runs, each on an idle system, from before the call to the end."""
        self._clear()
        took = []
        for number in range(runs):
            sleep(gap())
            began = monotonic_ns()
            self._contender.one(number, FIVE)
            took.append((self._end((number + 1) * FIVE, LOOK) - began) / 1e6)
        self._check(runs, FIVE)
        return took

    def _end(self, bodies: int, pause: float) -> int:
        wait_for(
            lambda: self._marks.count() >= bodies,
            _LONGEST,
            f"{self._contender.name}: {bodies} bodies did not execute",
            pause,
        )
        return self._contender.finished_ns()

    def _check(self, runs: int, steps: int) -> None:
        problem = self._marks.problem(runs, steps) or self._contender.problem(runs, steps)
        if problem:
            raise Broken(f"{self._contender.name}: {problem}")

    def _clear(self) -> None:
        self._contender.clear()
        self._marks.clear()

    def _database(self) -> tuple[int, int]:
        one = self._contender
        return (one.commits(), one.wal_bytes()) if isinstance(one, Platform) else (0, 0)
