"""Pace: after an outage, claims start slowly, so that a database that is back stays up.

All that was due meanwhile is ready, and all children come at once.
"""

from time import monotonic, sleep

# Rows a second that a child may claim at first; four times as many each second, then no limit.
FIRST = 2.0
_GROWTH = 4.0
SECONDS = 4.0
# What may be claimed within so many seconds is claimed at once.
_WORTH_A_TRIP = 0.05


class Pace:
    """The pace of one child's claims."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._next = 0.0

    def start(self) -> None:
        """The database is back from now."""
        self._since = monotonic()

    def wait(self) -> float:
        """Seconds until the next claim may be made."""
        if self._rate() is None:
            return 0.0
        return max(0.0, self._next - monotonic())

    def rest(self) -> None:
        """Sleep until the next claim may be made."""
        if (pause := self.wait()) > 0:
            # To sleep for no time at all costs a tenth of a millisecond, before every claim.
            sleep(pause)

    def claiming(self, limit: int) -> int:
        """A claim is made now; how many rows it may take of the `limit` it wants."""
        rate = self._rate()
        if rate is None:
            return limit
        rows = max(1, min(limit, int(rate * _WORTH_A_TRIP)))
        self._next = monotonic() + rows / rate
        return rows

    def _rate(self) -> float | None:
        if self._since is None:
            return None
        age = monotonic() - self._since
        if age > SECONDS:
            self._since = None
            return None
        return FIRST * _GROWTH ** int(age)
