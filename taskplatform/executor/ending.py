"""Ending: how a run ends, or begins to, and which event handlers that starts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import orjson

from taskplatform.core.failure import Failure
from taskplatform.core.handlers import handlers
from taskplatform.core.ids import uuid7
from taskplatform.core.item_error import ItemError
from taskplatform.core.pipeline import Declaration
from taskplatform.core.segments import next_compensation, output_steps
from taskplatform.executor.branch import Branch
from taskplatform.storage.claim import Claimed
from taskplatform.storage.settlement import (
    Attempt,
    End,
    Handler,
    Join,
    PutBack,
    Result,
    Settlement,
    Slots,
    Then,
)


def settled(
    claimed: Claimed,
    then: Then,
    result: Result | None = None,
    attempt: Attempt | None = None,
    handlers: Sequence[Handler] = (),
    *,
    ends_limited: bool = False,
    **forked: Any,
) -> Settlement:
    """What becomes of claimed work; `ends_limited`: its run ends, and may have slots of its own."""
    gates = claimed.gates
    return Settlement(
        claimed.work_id,
        claimed.epoch,
        claimed.run_id,
        then,
        result,
        attempt,
        handlers,
        None,
        claimed.branch != "",
        claimed.parent_run,
        slots=Slots(tuple(gates.items()) if gates else ()) if gates or ends_limited else None,
        **forked,
    )


def succeeded(
    claimed: Claimed,
    declaration: Declaration[Any],
    default_queue: str,
    *,
    result: Result | None = None,
    started_ago: float | None = None,
) -> Settlement:
    """End a run of which the code here has no step left to execute."""
    outputs = claimed.outputs if result is None else {**claimed.outputs, result.step: result.output}
    names = [name for name in output_steps(declaration) if name in outputs] or [
        step.name for step in reversed(declaration.steps) if step.name in outputs
    ][:1]
    end = End(
        "succeeded",
        output_step=",".join(names) or None,
        started_ago=started_ago,
        owns_key=claimed.key is not None and declaration.debounce is None,
        key_seconds=declaration.idempotency,
    )
    output = _output(names, outputs)
    made = _handlers(claimed, declaration, default_queue, "task.completed", output)
    limited = bool(declaration.concurrency)
    return settled(claimed, end, result=result, handlers=made, ends_limited=limited)


def _output(names: Sequence[str], outputs: dict[str, bytes]) -> orjson.Fragment:
    if len(names) == 1:
        return orjson.Fragment(outputs[names[0]])
    if not names:
        return orjson.Fragment(b"null")
    return orjson.Fragment(orjson.dumps({one: orjson.Fragment(outputs[one]) for one in names}))


def failed(
    claimed: Claimed,
    declaration: Declaration[Any],
    default_queue: str,
    error: bytes,
    *,
    started_ago: float | None = None,
    attempt: Attempt | None = None,
    result: Result | None = None,
) -> Settlement:
    """End a run that failed for good."""
    end = End(
        "failed",
        error=error,
        started_ago=started_ago,
        owns_key=claimed.key is not None and declaration.debounce is None,
        key_seconds=declaration.idempotency,
    )
    made = _handlers(claimed, declaration, default_queue, "task.failed", orjson.Fragment(error))
    limited = bool(declaration.concurrency)
    return settled(
        claimed, end, attempt=attempt, result=result, handlers=made, ends_limited=limited
    )


def fail(
    branch: Branch, default_queue: str, failure: Failure, attempt: Attempt | None = None
) -> Settlement:
    """A step failed for good: undo what has to be undone, then end the run; or collect the error.

    A compensation that fails for good waits for a person: nobody else knows what to do about it.
    """
    claimed, step = branch.claimed, branch.step
    error = failure.encode(branch.label)
    if claimed.position is not None and step.mapped and step.mapped.on_item_error == "collect":
        return settled(
            claimed, Join(), attempt=attempt, result=_collected(branch, failure, claimed.position)
        )
    if claimed.branch:
        return settled(claimed, Join(run_error=error), attempt=attempt)
    if claimed.failing:
        why = f"compensation {step.name} failed: {failure.type}: {failure.message}"
        return settled(claimed, parking(branch, default_queue, why), attempt=attempt)
    undo = next_compensation(branch.declaration, claimed.versions)
    if undo is not None:
        then = PutBack(
            undo.name,
            undo.queue or default_queue,
            tried=claimed.attempts != {} or attempt is not None,
            rest="",
            failing=True,
            run_error=error,
        )
        return settled(claimed, then, attempt=attempt)
    first = branch.first_body_at
    return failed(
        claimed,
        branch.declaration,
        default_queue,
        error,
        started_ago=None if first is None else monotonic() - first,
        attempt=attempt,
    )


def fails(one: Settlement) -> bool:
    """Whether the run has failed for good with this, or is about to."""
    match one.then:
        case Join(run_error=error):
            return error is not None
        case PutBack(failing=failing):
            return failing
        case End(status=status):
            return status == "failed"
        case _:
            return False


def parking(branch: Branch, default_queue: str, why: str) -> PutBack:
    """Leave the branch to a person."""
    return PutBack(
        branch.step.name,
        branch.step.queue or default_queue,
        delay=float("inf"),
        reason="parked",
        waiting_for=why[:2000],
        failures=branch.failures,
        put_off=branch.put_off,
        tried=True,
    )


def _collected(branch: Branch, failure: Failure, position: int) -> Result:
    error = ItemError(index=position, type=failure.type, message=failure.message)
    return Result(
        branch.step.name,
        branch.step.version,
        branch.number,
        error.model_dump_json().encode(),
        started_ago=monotonic() - branch.step_started_at,
        finished_ago=0.0,
        position=position,
        failed=True,
    )


def _handlers(
    claimed: Claimed,
    declaration: Declaration[Any],
    default_queue: str,
    what: str,
    data: orjson.Fragment,
) -> list[Handler]:
    name = f"{declaration.name}/{what}"
    found = handlers(name)
    if not found:
        return []
    event = {
        "id": str(uuid7()),
        "name": name,
        "run_id": str(claimed.run_id),
        "pipeline": declaration.name,
        "at": datetime.now(UTC).isoformat(),
        "data": {"input": orjson.Fragment(claimed.input), "result": data},
    }
    encoded = orjson.dumps(event)
    return [
        Handler(uuid7(), one.name, one.steps[0].name, one.steps[0].queue or default_queue, encoded)
        for one in found
    ]
