"""Debounce: of a burst of enqueues one run, which starts when the burst is over."""

from dataclasses import dataclass

from taskplatform.core.duration import Duration
from taskplatform.core.inputs import Key
from taskplatform.core.options import above_zero, at_most
from taskplatform.errors import DeclarationError


@dataclass(frozen=True, init=False, slots=True)
class Debounce:
    """A run starts `period` seconds after the last enqueue of its key, on the input of that.

    It starts no later than `max_wait` seconds after the first one; without it a stream that never
    pauses puts it off for ever.
    """

    period: float
    max_wait: float | None
    key: Key | None

    def __init__(
        self, period: Duration, *, key: Key | None = None, max_wait: Duration | None = None
    ) -> None:
        """`key` is a field of the input or a function of it. Raises DeclarationError."""
        try:
            seconds = above_zero("Debounce period", period)
            longest = at_most("Debounce max_wait", max_wait)
        except ValueError as error:
            raise DeclarationError(str(error)) from None
        if longest is not None and longest < seconds:
            raise DeclarationError(
                f"Debounce({period!r}, max_wait={max_wait!r}): give a max_wait that is not shorter "
                "than the period"
            )
        for name, value in zip(self.__slots__, (seconds, longest, key), strict=True):
            object.__setattr__(self, name, value)
