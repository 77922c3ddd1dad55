"""Batch: runs wait until there are enough of them, or the first has waited long enough."""

from collections.abc import Iterator
from typing import Any

from taskplatform.core.fields import text_of
from taskplatform.core.inputs import Key
from taskplatform.errors import InvalidInput
from taskplatform.middleware.enqueuing import Enqueuing
from taskplatform.storage.new_run import Membership


def batch(call: Enqueuing) -> Iterator[None]:
    """Make runs members of a batch; forced ones start at once, by themselves.

    Raises InvalidInput for what would say in another way when the run is due.
    """
    declared = call.declaration.batch
    if declared is not None:
        first = call.declaration.steps[0].name
        for run, input in zip(call.runs, call.inputs, strict=True):
            if run.forced:
                continue
            if run.delay is not None or run.at is not None or run.hold:
                raise InvalidInput(
                    f"pipeline '{call.pipeline}' has batch=, which says when a run is due: leave "
                    "delay, at and hold out, or force the run"
                )
            scope = f"{call.pipeline}.{first}:{_value(declared.key, input, call.pipeline)}"
            run.batch, run.delay = Membership(scope, declared.size), declared.timeout
    yield


def _value(key: Key | None, input: Any, pipeline: str) -> str:
    if key is None:
        return ""
    value = key(input) if callable(key) else getattr(input, key)
    return text_of(value, f"pipeline '{pipeline}': batch key") or ""
