"""Branches that execute in turns, each when its time has come, on a clock that nobody waits for."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count

# Yields the moment, in seconds since the start, at which it wants to go on.
Branch = Generator[float, None, None]


@dataclass(slots=True)
class Clock:
    """Seconds that have passed since the start."""

    now: float = 0.0


def side_by_side(branches: Iterable[Branch], clock: Clock) -> Branch:
    """Take all branches to their ends; of those due at one moment, the first that came.

    What one raises ends all of them.
    """
    order = count()
    open_branches = [(clock.now, next(order), one) for one in branches]
    heapify(open_branches)
    while open_branches:
        due, _, branch = heappop(open_branches)
        # Something earlier, or as early and there before, may lie outside.
        yield due
        for due in branch:
            heappush(open_branches, (due, next(order), branch))
            break


def play(branch: Branch, clock: Clock) -> None:
    """Take a branch to its end, letting the time pass that it waits for."""
    for due in branch:
        clock.now = max(clock.now, due)
