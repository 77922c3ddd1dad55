"""One contender's turn: a process of its own, in which the client lives and is measured."""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import Popen
from time import monotonic_ns, sleep

from tests.benchmarks.contender import Contender
from tests.benchmarks.contenders import load
from tests.benchmarks.jobs import FIVE, Job, Shape
from tests.benchmarks.marks import Marks
from tests.benchmarks.meter import Meter
from tests.benchmarks.place import Place
from tests.benchmarks.waiting import LOOK, wait_for
from tests.benchmarks.working import alive, working

_LONGEST = 120.0
# Runs of each job, fewer where they take long: processes load, connect and learn what steps take.
_WARM_UP = 100
# While rates are measured the client looks seldom: it shares the cores with the contender.
_SELDOM = 0.002
# At every so manieth look it looks, too, whether the worker is still there.
_ALIVE_EVERY = 500

Enqueue = Callable[[Iterable[int], Job], None]


@dataclass
class Found:
    """What one contender came to in one turn: figures, and samples of times in ms."""

    figures: dict[str, float] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How long measurements take: seconds of work at the contender's pace, and lone runs."""

    seconds: float
    lone: int
    silences: int
    backlog: int
    io: int
    idle: float
    minutes: float = 0.0


class Miscounted(Exception):
    """A step was not executed exactly once."""


class Session:
    """A client, and at times a worker, of one contender."""

    def __init__(self, contender: Contender, place: Place, plan: Plan) -> None:
        self.contender = contender
        self.place = place
        self.plan = plan
        self._marks = Marks(place.marks)
        self._processes: list[Popen[bytes]] = []
        self._executed = 0

    @contextmanager
    def worker(self, shape: Shape, *jobs: Job) -> Iterator[Sequence[int]]:
        """A worker of that shape, warm for these jobs; yields the pids of its processes."""
        warm_up = round(min(_WARM_UP, max(_WARM_UP / 4, self.contender.pace.bulk)))
        with working(self.contender, shape) as self._processes:
            for job in jobs:
                self.rate(self.contender.bulk, warm_up, job)
            yield [process.pid for process in self._processes]
        self._nothing_since()

    @contextmanager
    def meter(self, workers: Sequence[int]) -> Iterator[Meter]:
        """A meter of the parties; the workers' processes are given."""
        made = Meter(self.place, workers)
        try:
            yield made
        finally:
            made.close()

    def runs(self, pace: float, least: int = 20) -> int:
        """How many runs to measure with, at that pace."""
        return max(least, round(pace * self.plan.seconds))

    def rate(self, enqueue: Enqueue, runs: int, job: Job) -> float:
        """Runs per second from before the first enqueue to the last end; checked."""
        return runs / self.lasts(enqueue, runs, job)

    def lasts(self, enqueue: Enqueue, runs: int, job: Job) -> float:
        """Seconds from before the first enqueue to the last end; checked."""
        self._begin()
        began = monotonic_ns()
        enqueue(range(runs), job)
        ended = self._end(runs * job.steps, _SELDOM)
        self._check(runs, job)
        return (ended - began) / 1e9

    def stream(self, numbers: Iterable[int], job: Job) -> None:
        """Enqueue one by one, as one web handler after the other would."""
        for number in numbers:
            self.contender.one(number, job)

    def lone(self, runs: int, gap: Callable[[], float], job: Job = FIVE) -> list[list[float]]:
        """Single runs, each on an idle system: ms to their first step and to their end."""
        self._begin()
        firsts, ends = [], []
        for number in range(runs):
            sleep(gap())
            began = monotonic_ns()
            self.contender.one(number, job)
            ends.append((self._end((number + 1) * job.steps, LOOK) - began) / 1e6)
            firsts.append((self._marks.first_ns(number, 0) - began) / 1e6)
        self._check(runs, job)
        return [firsts, ends]

    def _end(self, bodies: int, pause: float) -> int:
        looks = 0

        def ended() -> bool:
            nonlocal looks
            looks += 1
            if looks % _ALIVE_EVERY == 0:
                alive(self._processes)
            return self._marks.count() >= bodies

        wait_for(ended, _LONGEST, f"{self.contender.title}: {bodies} bodies did not execute", pause)
        return self.contender.ended_ns()

    def _check(self, runs: int, job: Job) -> None:
        problem = self._marks.problem(runs, job.steps) or self.contender.problem(runs, job)
        if problem:
            raise Miscounted(f"{self.contender.title}: {problem}")
        self._executed = runs * job.steps

    def _nothing_since(self) -> None:
        # An execution too many may come late.
        if self._marks.count() != self._executed:
            raise Miscounted(f"{self.contender.title}: steps executed after the end of all runs")

    def _begin(self) -> None:
        self._nothing_since()
        self._marks.clear()
        self._executed = 0
        self.contender.begin()


def install(name: str, place: Place) -> None:
    """Make the contender's tables. Executed in a process of its own."""
    _contender(name, place).install()


def turn(name: str, place: Place, plan: Plan, measure: Callable[[Session], Found]) -> Found:
    """Take one measure of one contender. Executed in a process of its own."""
    contender = _contender(name, place)
    contender.open()
    gc.collect()
    gc.freeze()
    try:
        return measure(Session(contender, place, plan))
    finally:
        contender.close()


def _contender(name: str, place: Place) -> Contender:
    # Before the contender's module is loaded, which reads it.
    os.environ.update(place.environment())
    return load(name)(place)
