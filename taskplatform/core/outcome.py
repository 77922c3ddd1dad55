"""What an attempt came to, as plain values."""

from dataclasses import dataclass
from typing import Any

from taskplatform.core.failure import Failure
from taskplatform.errors import Permanent, RetryAfter


@dataclass(slots=True)
class Succeeded:
    """The body returned; the output is validated and encoded.

    `value` is what a reader of it gets, for one reader, or None.
    """

    output: bytes
    value: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The body raised, or its output is invalid; permanent ones are not retried."""

    failure: Failure
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt ran longer than the step's timeout."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class PutOff:
    """The body asked to come back later (RetryAfter); uses no retry."""

    seconds: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A shutdown handed the attempt back; uses no retry."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A middleware did not let the body start; no attempt was made.

    `seconds` until it is worth another look; `waiting_for` names what it waits for. With a `gate`
    the work stands in that gate's line until it is released: `weight` is what it takes there,
    `share` how much of the limit may be used up with it.
    """

    reason: str
    seconds: float
    waiting_for: str
    gate: str | None = None
    weight: int = 1
    share: float = 1.0


Outcome = Succeeded | Failed | TimedOut | PutOff | Interrupted | Withheld


def outcome_of(error: Exception) -> Outcome:
    """What an exception makes of an attempt that was not interrupted and had time."""
    if isinstance(error, RetryAfter):
        return PutOff(error.seconds, Failure.of(error))
    return Failed(Failure.of(error), permanent=isinstance(error, Permanent))
