"""Tally: what the attempts of a process came to, told as soon as some of a pipeline fail."""

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from time import monotonic

from taskplatform.errors import Unavailable
from taskplatform.storage.connection import Session
from taskplatform.storage.retry_budgets import SLICE, WINDOW, Count, count
from taskplatform.storage.settlement import Settlement

# So often it is told at most, also by who looks for work when the last has ended.
EVERY = 0.5
_FAILURES = ("failed", "timed-out")


class Tally:
    """What ended of each pipeline and was not told yet, by half minutes.

    Where everything ends well nothing is ever told: it is forgotten with its window.
    """

    def __init__(self) -> None:
        self._passed: dict[str, dict[int, int]] = {}
        self._failed: dict[str, dict[int, int]] = {}
        self._next = 0.0

    def count(self, pipeline: str, settlement: Settlement) -> None:
        """Count what was committed: an output, or an attempt that failed."""
        if settlement.result is not None:
            counted = self._passed
        elif settlement.attempt is not None and settlement.attempt.outcome in _FAILURES:
            counted = self._failed
        else:
            return
        slices = counted.setdefault(pipeline, {})
        now = int(monotonic() // SLICE)
        if now not in slices:
            oldest = now - WINDOW // SLICE
            counted[pipeline] = slices = {at: n for at, n in slices.items() if at > oldest}
        slices[now] = slices.get(now, 0) + 1

    def tell(
        self, ask: Callable[[Callable[[Session], None]], None], failing: Collection[str]
    ) -> None:
        """Tell what is to be told, if the database can be reached; it is no matter else."""
        if told := self.to_tell(failing):
            with suppress(Unavailable):
                ask(partial(count, counts=told))

    def to_tell(self, failing: Collection[str]) -> list[Count]:
        """What is to be told now, which is forgotten: of `failing` pipelines all there is."""
        if not (self._failed or failing) or monotonic() < self._next:
            return []
        told = [
            Count(pipeline, max(0.0, monotonic() - (at + 0.5) * SLICE), passed, failed)
            for pipeline in {*self._failed, *failing}
            for at, passed, failed in self._taken(pipeline)
        ]
        if told:
            self._next = monotonic() + EVERY
        return told

    def _taken(self, pipeline: str) -> list[tuple[int, int, int]]:
        passed, failed = self._passed.pop(pipeline, {}), self._failed.pop(pipeline, {})
        return [(at, passed.get(at, 0), failed.get(at, 0)) for at in {*passed, *failed}]
