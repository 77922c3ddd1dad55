"""What can be made to happen to an attempt besides an exception."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Crash:
    """The process dies in the attempt; `after_body`: when its effects have happened already."""

    after_body: bool = False


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt lasts as long as its timeout allows, and is ended."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run is cancelled while the body runs: `ctx.cancelled` is true, its output is refused."""


class _Timeout(Enum):
    TIMEOUT = "TIMEOUT"

    def __repr__(self) -> str:
        return "testing.TIMEOUT"


# The wait of a step ends without its event.
TIMEOUT = _Timeout.TIMEOUT
