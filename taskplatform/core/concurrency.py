"""Concurrency limits: how many at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from taskplatform.core.fields import text_of
from taskplatform.core.names import is_pipeline_name
from taskplatform.errors import DeclarationError

if TYPE_CHECKING:
    from taskplatform.core.pipeline import Declaration

Overlap = Literal["queue", "skip", "cancel-oldest", "cancel-newest"]
ScopeKey = str | Callable[[Any], object]

_LARGEST = 100_000
_OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)


@dataclass(frozen=True, init=False, slots=True)
class Concurrency:
    """At most `limit` at a time, over all workers: bodies of a step, or runs of a pipeline.

    With `key`, a field of the input or a function of it, each value has its own limit. Who names
    the same limit shares it; one without a name is its step's or pipeline's own.
    """

    name: str | None
    limit: int
    key: ScopeKey | None
    overlap: Overlap

    def __init__(
        self,
        name: str | int | None = None,
        limit: int | None = None,
        *,
        key: ScopeKey | None = None,
        overlap: Overlap = "queue",
    ) -> None:
        """`Concurrency(5)` or `Concurrency("gpu", 5)`.

        `overlap` says what a pipeline does with a run for which there is no room: it waits in line
        (queue), ends at once (skip), or as many as are too many are cancelled of those that have
        begun or wait, the oldest or the newest. Raises DeclarationError.
        """
        if limit is None and not isinstance(name, str):
            name, limit = None, name
        shown = f"Concurrency({limit!r})" if name is None else f"Concurrency({name!r}, {limit!r})"
        if name is not None and not is_pipeline_name(name):
            raise DeclarationError(f"{shown}: a name has small letters, digits, dots and dashes")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LARGEST:
            raise DeclarationError(f"{shown}: give a limit from 1 to {_LARGEST}")
        if key is not None and not isinstance(key, str) and not callable(key):
            raise DeclarationError(
                f"{shown}, key={key!r}: give a field of the input or a function of it"
            )
        if overlap not in _OVERLAPS:
            raise DeclarationError(
                f"{shown}, overlap={overlap!r}: give one of {', '.join(map(repr, _OVERLAPS))}"
            )
        for attribute, value in zip(self.__slots__, (name, limit, key, overlap), strict=True):
            object.__setattr__(self, attribute, value)

    def named(self, name: str) -> "Concurrency":
        """The same limit, by its own name or else by this one."""
        if self.name is not None:
            return self
        return Concurrency(name, self.limit, key=self.key, overlap=self.overlap)

    def scope(self, input: Any) -> str:
        """Whose limit it is; '' if all share one. Raises InvalidInput."""
        if self.key is None:
            return ""
        value = self.key(input) if callable(self.key) else getattr(input, self.key)
        return text_of(value, f"concurrency '{self.name}': key") or ""


def declared(declarations: "Iterable[Declaration[Any]]") -> dict[str, int]:
    """The limits of pipelines and of their steps, by name."""
    found: dict[str, int] = {}
    for declaration in declarations:
        steps = [one for step in declaration.steps for one in step.concurrency]
        for one in (*declaration.concurrency, *steps):
            found[one.name or ""] = one.limit
    return found
