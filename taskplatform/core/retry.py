"""When a failed step is tried again."""

from collections.abc import Sequence
from dataclasses import dataclass

from taskplatform.core.duration import Duration, seconds
from taskplatform.errors import DeclarationError

_MOST = 10_000


@dataclass(frozen=True, init=False, slots=True)
class Retry:
    """A policy: so many retries, after exact delays or after growing ones. Seconds."""

    retries: int
    delays: tuple[float, ...] | None
    base: float
    factor: float
    cap: float
    jitter: float

    def __init__(
        self,
        retries: int | None = None,
        *,
        delays: Sequence[Duration] | None = None,
        base: Duration = "1s",
        factor: float = 2,
        cap: Duration = "1h",
        jitter: float = 0.1,
    ) -> None:
        """`Retry(3)` is three retries, so four attempts; `delays` are kept to exactly.

        `jitter` spreads growing delays by that share, up and down. Raises DeclarationError.
        """
        if delays is not None:
            if retries is not None and retries != len(delays):
                raise DeclarationError(
                    f"Retry({retries}, delays=...) has {len(delays)} delays: "
                    "leave the number out, each delay is one retry"
                )
            retries = len(delays)
        elif retries is None:
            retries = 3
        if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= _MOST:
            raise DeclarationError(f"Retry({retries!r}): give a number of retries, 0 to {_MOST}")
        if not 1 <= factor <= 1000:
            raise DeclarationError(f"Retry(factor={factor!r}): give a number from 1 to 1000")
        if not 0 <= jitter <= 1:
            raise DeclarationError(f"Retry(jitter={jitter!r}): give a share from 0 to 1")
        try:
            exact = None if delays is None else tuple(seconds(delay) for delay in delays)
            values = (retries, exact, seconds(base), float(factor), seconds(cap), float(jitter))
        except ValueError as error:
            raise DeclarationError(f"Retry: {error}") from None
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def delay(self, failures: int, random: float) -> float | None:
        """Seconds to wait after the failures-th failure (from 1); None: no retry is left.

        `random` is a number from 0 to 1.
        """
        if failures > self.retries:
            return None
        if self.delays is not None:
            return self.delays[failures - 1]
        try:
            growing = self.base * self.factor ** (failures - 1)
        except OverflowError:
            growing = self.cap
        spread = 1 + self.jitter * (2 * random - 1)
        return min(min(growing, self.cap) * spread, self.cap)
