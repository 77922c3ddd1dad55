"""Help for tests of pipelines: without servers by `run`, with real ones by the fixtures."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskplatform.testing.clock import advance
    from taskplatform.testing.failures import Failures
    from taskplatform.testing.given import NotGiven
    from taskplatform.testing.in_process import run
    from taskplatform.testing.markers import TIMEOUT, Cancelled, Crash, TimedOut
    from taskplatform.testing.record import TestAttempt, TestRun, TestStep

__all__ = [
    "run",
    "TestRun",
    "TestStep",
    "TestAttempt",
    "Crash",
    "TimedOut",
    "Cancelled",
    "TIMEOUT",
    "Failures",
    "NotGiven",
    "advance",
]

# Looked up when first asked for: the fixtures live in here too, and every pytest loads them.
_ROOMS = {
    "run": "in_process",
    "TestRun": "record",
    "TestStep": "record",
    "TestAttempt": "record",
    "Crash": "markers",
    "TimedOut": "markers",
    "Cancelled": "markers",
    "TIMEOUT": "markers",
    "Failures": "failures",
    "NotGiven": "given",
    "advance": "clock",
}


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"taskplatform.testing.{room}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
