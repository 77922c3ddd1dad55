"""What a body does outside of itself, as Python's audit hooks tell it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from taskplatform.core.context import Context
from taskplatform.verify.findings import Findings

_step: ContextVar[str | None] = ContextVar("taskplatform_verify_step", default=None)
_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
_FILES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "shutil.move", "shutil.rmtree")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT


def watch(findings: Findings) -> None:
    """Note what bodies do outside, and whether they ask for their idempotency key."""
    declared: property = vars(Context)["idempotency_key"]

    def noted(ctx: Context) -> Any:
        if step := _step.get():
            _note(findings, step, "key", "")
        return declared.__get__(ctx)

    type.__setattr__(Context, "idempotency_key", property(noted, doc=declared.__doc__))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        step = _step.get()
        if step is None or (what := _effect(event, arguments)) is None:
            return
        _note(findings, step, "outside", what)

    sys.addaudithook(hook)


@contextmanager
def inside(step: str) -> Iterator[None]:
    """What happens in here is this step's doing."""
    token = _step.set(step)
    try:
        yield
    finally:
        _step.reset(token)


def _note(findings: Findings, step: str, kind: str, what: str) -> None:
    # Writing it down opens a file, too.
    token = _step.set(None)
    try:
        findings.note(step, kind, what)
    finally:
        _step.reset(token)


def _effect(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event == "socket.connect":
        address = arguments[1]
        where = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
        return f"connects to {where}"
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
        return f"writes {arguments[0]}" if isinstance(arguments[0], str | os.PathLike) else None
    if event in _PROGRAMS:
        return f"starts {arguments[0]}"
    if event in _FILES:
        return f"{event.partition('.')[2]} {arguments[0]}"
    return None
