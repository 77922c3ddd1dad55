"""Backoff: how long to leave a server alone that is away."""

import random

LONGEST = 5.0


class Backoff:
    """Pauses in seconds that double up to five, spread so that not all come back at once."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._pause = first

    def next(self) -> float:
        """The next pause; never longer than LONGEST."""
        pause = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(2 * self._pause, LONGEST)
        return pause

    def reset(self) -> None:
        """It answered: the next pause is a short one again."""
        self._pause = self._first
