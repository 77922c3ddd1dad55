"""How times, lengths of time and states are said."""

from datetime import UTC, datetime

COLOURS = {
    "scheduled": "blue",
    "queued": "cyan",
    "running": "bright_blue",
    "waiting": "yellow",
    "succeeded": "green",
    "reused": "green",
    "failed": "red",
    "timed-out": "red",
    "crashed": "red",
    "cancelled": "magenta",
}
MARKS = {
    "scheduled": "◷",
    "queued": "○",
    "running": "●",
    "waiting": "◔",
    "succeeded": "✓",
    "reused": "↺",
    "failed": "✗",
    "cancelled": "⊘",
    "pending": "·",
}
_REASONS = {
    "retry": "for the next retry",
    "throttle": "for a rate limit",
    "concurrency": "for a free place of a concurrency limit",
    "breaker": "for an API that fails, or for its pipeline, which paused itself",
    "sleep": "in a sleep",
    "event": "for an event",
    "children": "for child runs",
    "paused": "for its pipeline, which is paused",
    "no-worker": "for a worker that knows it",
    "parked": "for a person: it is parked",
}
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def moment(value: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def length(seconds: float) -> str:
    """A length of time in one or two units."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    left = round(seconds)
    for place, (unit, size) in enumerate(_UNITS):
        if left >= size:
            below, smaller = _UNITS[place + 1] if place + 1 < len(_UNITS) else ("s", 1)
            rest = left % size // smaller
            return f"{left // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{left} s"


def took(started: datetime | None, finished: datetime | None) -> str:
    """How long it took, or has taken until now."""
    if started is None:
        return ""
    return length(((finished or datetime.now(UTC)) - started).total_seconds())


def from_now(value: datetime) -> str:
    """`in 5 min` or `5 min ago`."""
    seconds = (value - datetime.now(UTC)).total_seconds()
    return f"in {length(seconds)}" if seconds >= 0 else f"{length(-seconds)} ago"


def why(reason: str | None, waiting_for: str | None) -> str:
    """What a run waits for."""
    said = _REASONS.get(reason or "", f"for {reason}")
    return said + (f" ({waiting_for})" if waiting_for else "")


def colour(status: str) -> str:
    """A state's colour."""
    return COLOURS.get(status, "dim")


def mark(status: str) -> str:
    """A state's sign."""
    return MARKS.get(status, "·")


def progress(done: float | None, total: float | None) -> str:
    """`40/100 (40 %)`."""
    if done is None:
        return ""
    if not total:
        return f"{done:,.6g}"
    return f"{done:,.6g}/{total:,.6g} ({min(done / total, 1):.0%})".replace("%", " %")
