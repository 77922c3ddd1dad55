"""Tally: what the attempts of a process came to, told as soon as some of a pipeline fail."""

from collections.abc import Callable, Collection, Container, Iterable
from contextlib import suppress
from functools import partial
from time import monotonic

from taskplatform.errors import Unavailable
from taskplatform.executor.branch import Branch
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

    def count(
        self, pending: Iterable[tuple[Branch, Settlement, object]], accepted: Container[int]
    ) -> None:
        """Count what was committed of a batch: outputs, and attempts that failed."""
        passed: dict[str, int] = {}
        failed: dict[str, int] = {}
        for branch, settlement, _ in pending:
            if settlement.work_id not in accepted:
                continue
            if settlement.result is not None:
                counts = passed
            elif (attempt := settlement.attempt) is not None and attempt.outcome in _FAILURES:
                counts = failed
            else:
                continue
            pipeline = branch.claimed.pipeline
            counts[pipeline] = counts.get(pipeline, 0) + 1
        self._add(self._passed, passed)
        self._add(self._failed, failed)

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

    def _add(self, counted: dict[str, dict[int, int]], counts: dict[str, int]) -> None:
        now = int(monotonic() // SLICE)
        for pipeline, many in counts.items():
            slices = counted.get(pipeline, {})
            if now not in slices:
                oldest = now - WINDOW // SLICE
                counted[pipeline] = slices = {at: n for at, n in slices.items() if at > oldest}
            slices[now] = slices.get(now, 0) + many

    def _taken(self, pipeline: str) -> list[tuple[int, int, int]]:
        passed, failed = self._passed.pop(pipeline, {}), self._failed.pop(pipeline, {})
        return [(at, passed.get(at, 0), failed.get(at, 0)) for at in {*passed, *failed}]
