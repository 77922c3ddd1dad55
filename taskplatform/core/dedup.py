"""Dedup as a pipeline declares it: whose key it is, and what an enqueue of a taken key does."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from taskplatform.core.batching import Batch
from taskplatform.core.debounce import Debounce
from taskplatform.core.inputs import Key

# `return` gives the active run, `raise` is KeyTaken. `replace` cancels a run that has not begun,
# `cancel-oldest` whatever the active run does; the new one takes its place.
Singleton = Literal["return", "raise", "replace", "cancel-oldest"]


@dataclass(frozen=True, slots=True)
class Dedup:
    """The options of a pipeline that decide whether an enqueue makes a run."""

    pipeline: str
    declared_key: Key | None
    idempotency: float | None
    singleton: Singleton
    debounce: Debounce | None
    batch: Batch | None
    limits_runs: bool = False

    @property
    def key(self) -> Key | None:
        """The key of a run: of a debounced one that of the burst."""
        if self.debounce is None or self.declared_key is not None:
            return self.declared_key
        return self.debounce.key or self._whole_pipeline

    def problem(self) -> str | None:
        """What does not go together, with the remedy."""
        if self.singleton not in get_args(Singleton):
            return f"singleton={self.singleton!r}: give one of {', '.join(get_args(Singleton))}"
        given: tuple[object, object] = (self.batch, self.debounce)
        if not isinstance(given[0], Batch | None):
            return f"batch={self.batch!r}: give Batch(size=100, timeout='5s')"
        if not isinstance(given[1], Debounce | None):
            return f"debounce={self.debounce!r}: give Debounce('10s', max_wait='1m')"
        if self.batch is not None and self.limits_runs:
            return "batch= begins many runs at once: give concurrency= to the step instead"
        if self.debounce is None:
            return None
        if self.batch is not None:
            return "it has debounce= and batch=, which both say when a run starts: keep one of them"
        if self.idempotency is not None:
            return "idempotency= would answer with runs that are over: leave it out with debounce="
        if self.singleton != "return":
            return "debounce= says what becomes of the waiting run: leave singleton= out"
        if self.declared_key is not None and self.debounce.key is not None:
            return "key= and Debounce(key=) are one key: give one of them"
        return None

    def _whole_pipeline(self, _: Any) -> str:
        return self.pipeline
