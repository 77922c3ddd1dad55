"""When a run is to start, as the caller said it."""

import math
from datetime import datetime

from taskplatform.core.duration import Duration, seconds
from taskplatform.errors import InvalidInput

_LONGEST = 100 * 366 * 86400.0


def due(delay: Duration | None, at: datetime | None) -> tuple[float | None, datetime | None]:
    """Check the two ways to say it; the delay comes back in seconds.

    Raises InvalidInput.
    """
    if delay is not None and at is not None:
        raise InvalidInput("delay and at are both given: give one of them")
    if delay is not None:
        return _delay(delay), None
    if at is not None:
        check_moment("at", at)
    return None, at


def check_moment(name: str, moment: datetime) -> None:
    """Refuse what is no moment: no datetime, or one without a time zone.

    Raises InvalidInput.
    """
    if not isinstance(moment, datetime):
        raise InvalidInput(f"{name}={moment!r}: give a datetime with a time zone")
    if moment.utcoffset() is None:
        raise InvalidInput(
            f"{name}={moment.isoformat()} has no time zone: give it one, such as "
            f"{moment.isoformat()}+00:00 or datetime.now(timezone.utc)"
        )


def _delay(delay: Duration) -> float:
    try:
        length = seconds(delay)
    except ValueError as error:
        raise InvalidInput(f"delay: {error}") from None
    if not math.isfinite(length) or not 0 <= length <= _LONGEST:
        raise InvalidInput(f"delay={delay!r}: give a time from 0 to 100 years")
    return length
