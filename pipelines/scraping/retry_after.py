"""Read the header Retry-After."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 24 * 3600.0


def retry_after(header: str, now: datetime) -> float | None:
    """Return the seconds to wait, 1 to 86,400, or None when the header says nothing usable."""
    value = header.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:12]) if len(value) <= 12 else LONGEST
    else:
        try:
            moment = parsedate_to_datetime(value[:100])
        except (ValueError, TypeError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    return min(max(seconds, 1.0), LONGEST)
