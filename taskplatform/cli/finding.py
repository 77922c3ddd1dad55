"""What a check found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `doctor`: what was looked at, how it is, what to do about it."""

    check: str
    result: Literal["ok", "warning", "failure"]
    message: str
    remedy: str | None = None


def good(check: str, message: str) -> Finding:
    """As it should be."""
    return Finding(check, "ok", message)


def odd(check: str, message: str, remedy: str) -> Finding:
    """It works, but somebody should look at it."""
    return Finding(check, "warning", message, remedy)


def bad(check: str, message: str, remedy: str) -> Finding:
    """It does not work, or loses work."""
    return Finding(check, "failure", message, remedy)
