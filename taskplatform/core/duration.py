"""Durations as people write them, in seconds."""

import math
import re
from datetime import timedelta

Duration = int | float | str | timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|w)")
# Far below what a timestamptz holds, so that now + duration never overflows.
_LONGEST = 100 * 366 * 86400.0
_ACCEPTED = "a number of seconds, a timedelta, or text such as '500ms', '30s', '5m', '1h30m', '3d'"


def seconds(value: Duration) -> float:
    """Read a duration; seconds.

    Raises ValueError for anything else, for a negative one and for more than 100 years.
    """
    result = _read(value)
    if result is None or not math.isfinite(result):
        raise ValueError(f"{_shown(value)} is no duration; give {_ACCEPTED}")
    if result < 0:
        raise ValueError(f"{_shown(value)} is negative; give {_ACCEPTED}")
    if result > _LONGEST:
        raise ValueError(f"{_shown(value)} is longer than 100 years")
    return result


def _read(value: object) -> float | None:
    match value:
        case bool():
            return None
        case int() | float():
            try:
                return float(value)
            except OverflowError:
                return 2 * _LONGEST if value > 0 else -1.0
        case timedelta():
            return value.total_seconds()
        case str():
            return _parse(value.strip())
        case _:
            return None


def _parse(text: str) -> float | None:
    total, end = 0.0, 0
    while part := _PART.match(text, end):
        total += float(part[1]) * _UNITS[part[2]]
        end = part.end()
    return total if text and end == len(text) else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
