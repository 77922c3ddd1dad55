"""Breakers: what keeps steps from an API outside that fails."""

from collections.abc import Callable
from dataclasses import dataclass

from taskplatform.core.duration import Duration, seconds
from taskplatform.core.names import is_pipeline_name
from taskplatform.errors import DeclarationError, Permanent, RetryAfter

Counts = Callable[[BaseException], object]

_LARGEST = 1_000_000


@dataclass(frozen=True, init=False, slots=True)
class Breaker:
    """Opens when too large a share of the bodies that use an API fails.

    While it is open no body of a step that names it starts, in no worker. After `cool_down` one
    is let through, then two, four, and so on up to `ramp` at a time, and it closes. Times are in
    seconds.
    """

    name: str
    failures: float
    minimum: int
    window: float
    cool_down: float
    ramp: int
    counts: Counts | None

    def __init__(
        self,
        name: str,
        *,
        failures: float = 0.5,
        minimum: int = 10,
        window: Duration = "1m",
        cool_down: Duration = "30s",
        ramp: int = 16,
        counts: Counts | None = None,
    ) -> None:
        """It opens when at least `minimum` bodies ended within `window`, that share of them badly.

        `counts` tells whether an exception is the API's fault; without it all are but Permanent
        and RetryAfter. Time-outs are always. Raises DeclarationError.
        """
        if not is_pipeline_name(name):
            raise DeclarationError(
                f"Breaker({name!r}): a name has small letters, digits, dots and dashes"
            )
        number = isinstance(failures, int | float) and not isinstance(failures, bool)
        if not number or not 0 < failures <= 1:
            raise DeclarationError(
                f"Breaker({name!r}, failures={failures!r}): give a share above 0, up to 1"
            )
        for option, many in (("minimum", minimum), ("ramp", ramp)):
            if isinstance(many, bool) or not isinstance(many, int) or not 1 <= many <= _LARGEST:
                raise DeclarationError(
                    f"Breaker({name!r}, {option}={many!r}): give a number from 1 to {_LARGEST}"
                )
        times = [_above_zero(name, "window", window), _above_zero(name, "cool_down", cool_down)]
        if counts is not None and not callable(counts):
            raise DeclarationError(
                f"Breaker({name!r}, counts={counts!r}): give a function of the exception"
            )
        values = (name, float(failures), minimum, *times, ramp, counts)
        for attribute, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, attribute, value)

    def blames(self, error: BaseException) -> bool:
        """Whether what a body raised is the API's fault; raises what `counts` does."""
        if self.counts is not None:
            return bool(self.counts(error))
        return not isinstance(error, Permanent | RetryAfter)


def _above_zero(name: str, option: str, value: Duration) -> float:
    try:
        found = seconds(value)
    except ValueError as error:
        raise DeclarationError(f"Breaker({name!r}, {option}=...): {error}") from None
    if found <= 0:
        raise DeclarationError(f"Breaker({name!r}, {option}={value!r}): give a duration above zero")
    return found
