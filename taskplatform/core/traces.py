"""Tracebacks as text: short, with the user's frames first."""

from collections.abc import Callable
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

_TOP_FRAMES = 5
_BOTTOM_FRAMES = 45
_LINE_CHARACTERS = 1024
_LINES = 400
_CHAINED = 20
_LEFT_OUT = "<left out>"
_PLATFORM = str(Path(__file__).resolve().parents[1]) + "/"


class _Stack(StackSummary):
    def format_frame_summary(self, frame_summary: FrameSummary, **options: bool) -> str:
        if frame_summary.filename == _LEFT_OUT:
            return f"  [... {frame_summary.lineno} frames left out ...]\n"
        return super().format_frame_summary(frame_summary, **options)


def trace(error: BaseException, conceal: Callable[[str], str]) -> str:
    """Format the traceback with its causes; never raises. `conceal` sees the text uncut."""
    try:
        summary = TracebackException.from_exception(
            error, lookup_lines=False, capture_locals=False, compact=True
        )
        _trim(summary)
        lines = conceal("".join(summary.format())).splitlines()
    except Exception as second:
        return f"<the traceback cannot be formatted: {type(second).__name__}>"
    if len(lines) > _LINES:
        left_out = f"[... {len(lines) - _LINES} lines left out ...]"
        lines = [*lines[: _LINES // 4], left_out, *lines[-_LINES * 3 // 4 :]]
    return "\n".join(
        line if len(line) <= _LINE_CHARACTERS else f"{line[: _LINE_CHARACTERS - 3]}..."
        for line in lines
    )


def _trim(summary: TracebackException) -> None:
    pending: list[tuple[TracebackException, int]] = [(summary, 0)]
    seen = set()
    while pending:
        one, level = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.stack = _short(one.stack)
        if level >= _CHAINED:
            one.__cause__ = one.__context__ = None
        pending += [
            (other, level + 1)
            for other in (one.__cause__, one.__context__, *(one.exceptions or ()))
            if other is not None
        ]


def _short(stack: StackSummary) -> StackSummary:
    frames = list(stack)
    first = 0
    while first < len(frames) and frames[first].filename.startswith(_PLATFORM):
        first += 1
    # An error of the platform itself has only its frames: those are then the news.
    frames = frames[first:] or frames
    left_out = len(frames) - _TOP_FRAMES - _BOTTOM_FRAMES
    if left_out > 0:
        marker = FrameSummary(_LEFT_OUT, left_out, "", lookup_line=False)
        frames = [*frames[:_TOP_FRAMES], marker, *frames[-_BOTTOM_FRAMES:]]
    return _Stack(frames)
