"""What every fault is."""

from random import Random
from typing import Protocol

from taskplatform.verify.rig.bench import Bench


class Fault(Protocol):
    """Begun once, ended once; between the two it lasts."""

    kind: str

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Do it; return the pids that it hit. Raises NoTarget if there is nobody to hit."""

    def end(self, bench: Bench) -> list[int]:
        """Undo what can be undone; return the pids that it hit by then."""

    def seconds(self, dice: Random) -> float:
        """How long it is to last; 0: it is over when it has begun."""


class NoTarget(LookupError):
    """There is nobody to hit now."""


class Sudden:
    """A fault that is over at once."""

    def end(self, bench: Bench) -> list[int]:  # noqa: ARG002
        """There is nothing to undo."""
        return []

    def seconds(self, dice: Random) -> float:  # noqa: ARG002
        """No time."""
        return 0.0


def one_of(dice: Random, pids: list[int]) -> int:
    """Choose a victim."""
    if not pids:
        raise NoTarget
    return dice.choice(pids)
