"""Rate limits that delay."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskplatform.core.duration import Duration, seconds
from taskplatform.core.fields import text_of
from taskplatform.core.names import is_pipeline_name
from taskplatform.errors import DeclarationError

_LARGEST = 100_000


@dataclass(frozen=True, init=False, slots=True)
class Throttle:
    """At most `limit` starts in any window of `per` seconds, over all workers.

    With `key`, a field of the input or a function of it, each value has its own limit.
    """

    name: str
    limit: int
    per: float
    key: str | Callable[[Any], object] | None

    def __init__(
        self,
        name: str,
        limit: int,
        per: Duration,
        key: str | Callable[[Any], object] | None = None,
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
        for attribute, value in zip(self.__slots__, (name, limit, window, key), strict=True):
            object.__setattr__(self, attribute, value)

    def scope(self, input: Any) -> str:
        """Whose limit it is; '' if all share one."""
        if self.key is None:
            return ""
        value = self.key(input) if callable(self.key) else getattr(input, self.key)
        return text_of(value, f"throttle '{self.name}': key") or ""
