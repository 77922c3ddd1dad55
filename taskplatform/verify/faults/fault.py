"""What every fault is."""

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

from taskplatform.verify.rig.bench import Bench

Target = TypeVar("Target")


class Fault(Protocol):
    """Begun once, ended once; between the two it lasts."""

    kind: str

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Do it; return the pids that it hit. Raises NoTarget if there is nobody to hit."""

    def end(self, bench: Bench) -> list[int]:
        """Undo what can be undone; return the pids that it hit by then."""

    def seconds(self, dice: Random) -> float:
        """How long it is to last; 0: it is over when it has begun."""

    @staticmethod
    def impossible(bench: Bench) -> str:
        """Why it cannot be done on this bench; empty if it can."""


class NoTarget(LookupError):
    """There is nobody to hit now."""


class Possible:
    """A fault that can be done on any bench."""

    @staticmethod
    def impossible(bench: Bench) -> str:  # noqa: ARG004
        """It can."""
        return ""


class Sudden(Possible):
    """A fault that is over at once."""

    def end(self, bench: Bench) -> list[int]:  # noqa: ARG002
        """There is nothing to undo."""
        return []

    def seconds(self, dice: Random) -> float:  # noqa: ARG002
        """No time."""
        return 0.0


def one_of(dice: Random, targets: Sequence[Target]) -> Target:
    """Choose a victim. Raises NoTarget."""
    if not targets:
        raise NoTarget
    return dice.choice(targets)
