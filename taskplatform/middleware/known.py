"""What a process knows of breakers between two looks, and what it has not told them yet."""

import threading
from dataclasses import dataclass, field
from math import inf
from time import monotonic

from taskplatform.storage.breakers import State

# So long a process believes what it knows of a breaker, and keeps to itself what ended well.
BELIEVED = 0.25


@dataclass(slots=True)
class Known:
    """One breaker, as it was when it was asked for; `passed` bodies ended well since."""

    state: State
    asked: float
    passed: int = 0

    @property
    def is_fresh(self) -> bool:
        """Whether it is still believed."""
        return monotonic() < self.asked + BELIEVED

    @property
    def seconds_left(self) -> float:
        """Until an open one lets somebody through."""
        left = self.state.seconds
        return inf if left is None else left - (monotonic() - self.asked)


@dataclass(slots=True)
class Breakers:
    """What a process knows of breakers, and has not told yet."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    known: dict[str, Known] = field(default_factory=dict)
