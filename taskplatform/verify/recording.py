"""What workers of a trial import last: it watches the bodies, and executes some of them twice.

A body may be executed again whenever its process dies between its effect and its commit. Here that
happens on purpose, at once, to a share of the executions, and what comes of it is written down.
"""

import copy
import inspect
import json
import os
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zlib import crc32

from celery import current_task

from taskplatform.celery.identity import current_child
from taskplatform.core import registry
from taskplatform.core.context import Context
from taskplatform.core.step import Step
from taskplatform.verify import outside
from taskplatform.verify.findings import Findings
from taskplatform.verify.judge.fingerprint import fingerprint
from taskplatform.verify.ledger import Ledger

FOLDER = "VERIFY_FOLDER"
# One execution of so many is done twice; the first run of all is, in each of its steps.
_ONE_OF = 4


def record(folder: Path) -> None:
    """Put the recording around all bodies of this process."""
    registry.finalize_all()
    book, findings = Ledger(folder / "ledger"), Findings(folder / "findings")
    outside.watch(findings)
    for declaration in registry.all():
        for step in declaration.steps:
            for one in (step, step.compensation):
                if one is not None and one.has_body:
                    one.surround(partial(_around, one, book, findings))


def _around(
    step: Step, book: Ledger, findings: Findings, function: Callable[..., Any]
) -> Callable[..., Any]:
    async def later(at: Any, arguments: dict[str, Any]) -> Any:
        with outside.inside(step.task_name):
            value = await function(**arguments)
        book.end(at, step.pipeline, _plain(step, value))
        return value

    @wraps(function)
    def now(**arguments: Any) -> Any:
        at = _attempt(step)
        book.start(at, step.pipeline)
        if inspect.iscoroutinefunction(function):
            return later(at, arguments)
        spare = _spare(step, at, arguments)
        began = monotonic()
        with outside.inside(step.task_name):
            value = function(**arguments)
        if spare is not None and monotonic() - began < step.timeout / 4:
            _again(step, function, spare, value, findings)
        book.end(at, step.pipeline, _plain(step, value))
        return value

    return now


def _again(
    step: Step, function: Callable[..., Any], arguments: Any, first: Any, findings: Findings
) -> None:
    findings.note(step.task_name, "twice", "")
    try:
        second = function(**arguments)
    except Exception as error:
        what = f"executed again it raises {type(error).__name__}: {error}"
        findings.note(step.task_name, "not-idempotent", what[:300])
        return
    if fingerprint(_plain(step, first)) != fingerprint(_plain(step, second)):
        findings.note(step.task_name, "unstable", "executed again it returns something else")


def _spare(step: Step, at: Any, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Arguments for a second execution, as the first one is given them; None: there is none."""
    chosen = crc32(f"{at.run_id}:{at.step}".encode()) % _ONE_OF == 0
    # What a transactional body writes is undone if it is executed again, so it proves nothing.
    if step.transactional or not chosen:
        return None
    return {
        name: one if isinstance(one, Context) else copy.deepcopy(one)
        for name, one in arguments.items()
    }


def _attempt(step: Step) -> Any:
    run, label, number = current_task.request.id.rsplit(":", 2)
    if label == "compensate":
        run, _, name = run.partition(":")
        label = f"{name}:compensate"
    note = current_child(current_task.app).slot.note()
    return SimpleNamespace(
        run_id=UUID(run),
        step=label,
        attempt=int(number),
        epoch=note.epoch if note else 0,
        idempotency_key=f"{run}:{step.name}",
    )


def _plain(step: Step, value: Any) -> Any:
    try:
        return json.loads(step.encode(value))
    except ValueError:
        # What cannot be stored fails its attempt a moment later.
        return None


if os.environ.get(FOLDER):
    record(Path(os.environ[FOLDER]))
