"""Names of pipelines and steps, and help for mistyped ones."""

import difflib
import re
from collections.abc import Iterable

_PIPELINE = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_EVENT = re.compile(r"[^\s:\x00]{1,150}")
_HANDLER = re.compile(rf"on:{_EVENT.pattern}:[a-z0-9][a-z0-9_-]{{0,99}}")
_STEP = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")

HANDLER_PREFIX = "on:"
# What undoes the step `charge` is the step `charge:compensate`.
COMPENSATION = ":compensate"


def is_pipeline_name(name: object) -> bool:
    """Small letters, digits, dots, dashes and underscores; or a handler's hidden name."""
    return isinstance(name, str) and bool(_PIPELINE.fullmatch(name) or _HANDLER.fullmatch(name))


def is_step_name(name: object) -> bool:
    """Small letters, digits, dashes and underscores."""
    return isinstance(name, str) and bool(_STEP.fullmatch(name))


def is_queue_name(name: object) -> bool:
    """Letters, digits, dots, colons, dashes and underscores."""
    return isinstance(name, str) and bool(_QUEUE.fullmatch(name))


def is_event_name(name: object) -> bool:
    """Anything without white space and colons, at most 150 characters."""
    return isinstance(name, str) and bool(_EVENT.fullmatch(name))


def step_name(function_name: str) -> str:
    """`simulate_delay` is the step `simulate-delay`."""
    return function_name.replace("_", "-")


def parameter_name(step: str) -> str:
    """The step `simulate-delay` is bound to the parameter `simulate_delay`."""
    return step.replace("-", "_")


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, or nothing."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{found[0]}'?" if found else ""
