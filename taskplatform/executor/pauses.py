"""Pauses between tries while the database is away."""

import random
from collections.abc import Iterator

_LONGEST = 5.0


def pauses() -> Iterator[float]:
    """Seconds, without end: longer and longer, and not the same for all who wait."""
    pause = 0.02
    while True:
        yield pause * random.uniform(0.5, 1.5)
        pause = min(pause * 2, _LONGEST)
