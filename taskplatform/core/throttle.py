"""Rate limits that delay."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskplatform.core.duration import Duration, seconds
from taskplatform.core.fields import text_of
from taskplatform.core.names import is_pipeline_name
from taskplatform.errors import DeclarationError, InvalidInput

_LARGEST = 100_000
# Beyond any limit, and within what the database counts with.
_HEAVIEST = 1_000_000_000


@dataclass(frozen=True, init=False, slots=True)
class Throttle:
    """At most `limit` starts in any window of `per` seconds, over all workers.

    With `key`, a field of the input or a function of it, each value has its own limit. `weight`,
    a number, a field or a function of the input, is what one start takes of it. At `pause_at`, a
    share of the limit, no more starts are granted.
    """

    name: str
    limit: int
    per: float
    key: str | Callable[[Any], object] | None
    weight: int | str | Callable[[Any], object]
    pause_at: float

    def __init__(
        self,
        name: str,
        limit: int,
        per: Duration,
        key: str | Callable[[Any], object] | None = None,
        weight: int | str | Callable[[Any], object] = 1,
        pause_at: float = 1.0,
    ) -> None:
        """Raises DeclarationError."""
        if not is_pipeline_name(name):
            raise DeclarationError(
                f"Throttle({name!r}): a name has small letters, digits, dots and dashes"
            )
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LARGEST:
            raise DeclarationError(
                f"Throttle({name!r}, limit={limit!r}): give a number from 1 to {_LARGEST}"
            )
        try:
            window = seconds(per)
        except ValueError as error:
            raise DeclarationError(f"Throttle({name!r}, per=...): {error}") from None
        if window <= 0:
            raise DeclarationError(f"Throttle({name!r}, per={per!r}): give a window above zero")
        if key is not None and not isinstance(key, str) and not callable(key):
            raise DeclarationError(
                f"Throttle({name!r}, key={key!r}): give a field of the input or a function of it"
            )
        whole = isinstance(weight, int) and not isinstance(weight, bool) and 1 <= weight <= limit
        if not (whole or isinstance(weight, str) or callable(weight)):
            raise DeclarationError(
                f"Throttle({name!r}, weight={weight!r}): give a whole number from 1 to the limit, "
                "a field of the input or a function of it"
            )
        if isinstance(pause_at, bool) or not 0 < pause_at <= 1:
            raise DeclarationError(
                f"Throttle({name!r}, pause_at={pause_at!r}): give a share of the limit, above 0 "
                "and at most 1"
            )
        values = (name, limit, window, key, weight, float(pause_at))
        for attribute, value in zip(Throttle.__slots__, values, strict=True):
            object.__setattr__(self, attribute, value)

    def scope(self, input: Any) -> str:
        """Whose limit it is; '' if all share one."""
        if self.key is None:
            return ""
        value = self.key(input) if callable(self.key) else getattr(input, self.key)
        return text_of(value, f"throttle '{self.name}': key") or ""

    def weight_of(self, input: Any) -> int:
        """What a start takes of the limit. Raises InvalidInput."""
        weight = self.weight
        if callable(weight):
            value = weight(input)
        else:
            value = getattr(input, weight) if isinstance(weight, str) else weight
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidInput(
                f"throttle '{self.name}': weight is {value!r}; give a whole number, 0 or more"
            )
        return min(value, _HEAVIEST)
