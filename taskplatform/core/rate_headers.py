"""What the headers of an answer say about when to call again."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Statuses with which an API refuses for a while.
REFUSED = frozenset({429, 503})
LONGEST = 24 * 3600.0
# Without a word of when, a refusal holds back for a window, but no longer than this.
UNSAID = 60.0

_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(?:;.*)?$")
_REMAINING = re.compile(r"\b(?:remaining|r)=(\d+)")
_RESET = re.compile(r"\b(?:reset|t)=(\d+)")
# A moment, not a number of seconds from now; in seconds, and in milliseconds.
_A_MOMENT, _IN_MILLISECONDS = 1e9, 1e11


def closed_for(
    headers: Mapping[str, str], status: int | None, now: datetime, window: float
) -> float | None:
    """For how many seconds nobody should call, 0 to 24 hours; None: go on.

    Understands Retry-After (seconds or a date), X-RateLimit-Remaining and -Reset (seconds or a
    moment), RateLimit-Remaining and -Reset, and the one header RateLimit of newer drafts. A date
    is compared with the answer's own Date, if it has one. `window` is that of the limit.
    """
    known = {str(name).lower(): str(value) for name, value in headers.items()}
    here = _date(known.get("date", "")) or now
    refused = status in REFUSED
    seconds = _after(known.get("retry-after", ""), here)
    if seconds is None or not refused:
        remaining, reset = _allowance(known, here)
        if remaining == 0 or (refused and seconds is None):
            seconds = max(seconds or 0.0, reset) if reset is not None else seconds
        elif not refused:
            return None
    if seconds is None:
        return min(window, UNSAID) if refused else None
    return min(max(seconds, 0.0), LONGEST)


def _allowance(known: Mapping[str, str], here: datetime) -> tuple[float | None, float | None]:
    for prefix in ("x-ratelimit", "ratelimit", "x-rate-limit"):
        remaining = _number(known.get(f"{prefix}-remaining", ""))
        reset = _after(known.get(f"{prefix}-reset", ""), here)
        if remaining is not None or reset is not None:
            return remaining, reset
    told = known.get("ratelimit", "")
    left, until = _REMAINING.search(told), _RESET.search(told)
    return (float(left[1]) if left else None), (float(until[1]) if until else None)


def _after(value: str, here: datetime) -> float | None:
    number = _number(value)
    if number is None:
        moment = _date(value)
        return None if moment is None else (moment - here).total_seconds()
    if number < _A_MOMENT:
        return number
    return (number / 1000 if number > _IN_MILLISECONDS else number) - here.timestamp()


def _number(value: str) -> float | None:
    found = _NUMBER.match(value.lstrip())
    return float(found[1]) if found else None


def _date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value[:100])
    except (ValueError, TypeError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
