"""Wall clocks that somebody sets."""

from random import Random

from taskplatform.verify.faults.fault import Possible, one_of
from taskplatform.verify.rig.bench import Bench
from taskplatform.verify.rig.workers import Worker

_HOURS = 2 * 3600.0


class ShiftClock(Possible):
    """The wall clock of a worker is two hours ahead, or behind, or half a minute off."""

    kind = "shift-clock"

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Set it."""
        self._worker = one_of(dice, bench.workers)
        self._worker.clock.set(dice.choice([_HOURS, -_HOURS, 30.0, -30.0]))
        return []

    def end(self, bench: Bench) -> list[int]:  # noqa: ARG002
        """Set it right."""
        assert self._worker is not None
        self._worker.clock.set(0.0)
        return []

    def seconds(self, dice: Random) -> float:
        """Some seconds, in which it is also read."""
        return dice.uniform(2, 8)
