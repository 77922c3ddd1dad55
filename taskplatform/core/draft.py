"""Steps as declared, before the pipeline is complete."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from taskplatform.core.duration import Duration, seconds
from taskplatform.core.retry import Retry
from taskplatform.core.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Draft:
    """A function and its options; None: the pipeline's."""

    name: str
    function: Callable[..., Any]
    retry: Retry | None
    timeout: float | None
    queue: str | None
    throttles: tuple[Throttle, ...]
    version: int


def throttles_of(value: Throttle | Sequence[Throttle] | None) -> tuple[Throttle, ...]:
    """One throttle or several, as several; raises ValueError."""
    several = () if value is None else (value,) if isinstance(value, Throttle) else tuple(value)
    for one in several:
        if not isinstance(one, Throttle):
            raise ValueError(f"throttle={one!r}: give Throttle(name, limit=..., per=...)")
    names = [one.name for one in several]
    if len(set(names)) != len(names):
        raise ValueError("two throttles have one name: keep one of them")
    return several


def above_zero(option: str, value: Duration) -> float:
    """A duration above zero, in seconds; raises ValueError naming the option."""
    try:
        result = seconds(value)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if result <= 0:
        raise ValueError(f"{option}={value!r}: give a duration above zero")
    return result


def retry_of(value: object) -> Retry:
    """A retry policy; raises ValueError."""
    if isinstance(value, Retry):
        return value
    raise ValueError(f"retry={value!r}: give Retry(3), or Retry(delays=['5m', '15m'])")


def version_of(value: object) -> int:
    """A step's version; raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31:
        return value
    raise ValueError(f"version={value!r}: give a whole number from 1")
