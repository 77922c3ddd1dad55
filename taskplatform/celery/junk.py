"""Messages that are dropped: counted, and logged so that a flood of them does not fill the log."""

import threading
from time import monotonic
from typing import Any

from celery.utils.log import get_logger

logger = get_logger(__name__)

# So many of them are logged one by one in a window of so many seconds; the rest as a number.
EACH = 10
WINDOW = 60.0
_PREFIX = 60


def sample(value: Any, longest: int = _PREFIX) -> str:
    """The beginning of a value of unknown origin, on one line, without control characters."""
    if not isinstance(value, str | bytes | bytearray):
        return f"a {type(value).__name__}"
    start = value[:longest]
    shown = ascii(bytes(start)) if isinstance(start, bytearray) else ascii(start)
    return shown if len(value) <= longest else f"{shown}... ({len(value):,} in all)"


class Junk:
    """What this process has dropped."""

    def __init__(self) -> None:
        self.dropped = 0
        self._lock = threading.Lock()
        self._window_ends = 0.0
        self._logged = 0
        self._silent = 0

    def drop(self, where: str, flaw: str, shown: str = "") -> None:
        """Count one, and log it unless many were logged of late; `shown` has to be a sample."""
        if self.admit():
            more = f": {shown}" if shown else ""
            logger.error("dropped a message from %s: %s%s", sample(where, 200), flaw, more)

    def admit(self) -> bool:
        """Count one; whether it may be logged."""
        with self._lock:
            self.dropped += 1
            if monotonic() > self._window_ends:
                self._window_ends = monotonic() + WINDOW
                self._logged = 0
            self._logged += 1
            self._silent += self._logged > EACH
            return self._logged <= EACH

    def tell(self) -> None:
        """Log how many were dropped without a word since the last time."""
        with self._lock:
            silent, self._silent = self._silent, 0
        if silent:
            logger.error("dropped %s more messages that nobody could have sent in earnest", silent)


JUNK = Junk()
