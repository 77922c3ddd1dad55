"""Verdict: from an outcome to what is committed for it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import orjson

from taskplatform.core.disposition import Advance, Again, Disposition, Fail, HandBack, dispose
from taskplatform.core.failure import Failure
from taskplatform.core.handlers import handlers
from taskplatform.core.ids import uuid7
from taskplatform.core.outcome import Outcome
from taskplatform.core.pipeline import Declaration
from taskplatform.core.segments import same_segment
from taskplatform.executor.branch import Branch
from taskplatform.executor.costs import BUDGET, Costs
from taskplatform.storage.claim import Claimed
from taskplatform.storage.settlement import (
    Attempt,
    End,
    Handler,
    Keep,
    PutBack,
    Result,
    Settlement,
)

# A claim fills the budget, and the next steps may be a little dearer than the first: without some
# play each wave would put a few runs back, and somebody would have to claim them again.
PLAY = 2.0


@dataclass(slots=True)
class Room:
    """How much expected work the holder may keep for its next wave."""

    kept: int = 0
    seconds: float = 0.0

    def admit(self, cost: float | None) -> bool:
        """Take another one in, if it fits or is the first."""
        cost = float("inf") if cost is None else cost
        if self.kept and self.seconds + cost > PLAY * BUDGET:
            return False
        self.kept += 1
        self.seconds += cost
        return True


def judge(branch: Branch, outcome: Outcome, put_off_limit: float) -> Disposition:
    """Apply the step's policy to an outcome."""
    return dispose(
        branch.step,
        outcome,
        failures=branch.failures,
        put_off=branch.put_off,
        put_off_limit=put_off_limit,
        random=random.random(),
    )


def settlement(
    branch: Branch,
    disposition: Disposition,
    *,
    default_queue: str,
    costs: Costs,
    room: Room,
    go_on: bool,
) -> Settlement:
    """Say what is to be committed for a branch whose step came to `disposition`.

    `go_on` tells whether the holder may keep the branch for its next step.
    """
    match disposition:
        case Advance(output):
            return _advance(branch, output, default_queue, costs, room, go_on)
        case Again():
            return _again(branch, disposition, default_queue)
        case Fail(attempt_outcome, failure):
            return _end(
                branch,
                default_queue,
                _failed(branch, failure),
                attempt=_attempt(branch, attempt_outcome, failure),
                failure=failure,
            )
        case HandBack():
            return _settled(
                branch,
                put_back(branch, default_queue, tried=True),
                attempt=_attempt(branch, "interrupted", None),
            )


def put_back(branch: Branch, default_queue: str, *, tried: bool = False) -> PutBack:
    """Make the branch claimable again as it stands."""
    step = branch.step
    return PutBack(
        step.name,
        step.queue or default_queue,
        failures=branch.failures,
        put_off=branch.put_off,
        tried=tried,
    )


def released(branch: Branch, default_queue: str) -> Settlement:
    """Give back a branch whose next body was not started."""
    return _settled(branch, put_back(branch, default_queue))


def expecting(settlement: Settlement, step: str) -> Settlement:
    """The same, but refused unless the work still stands at `step`."""
    return replace(settlement, expected=step)


def parked(claimed: Claimed, queue: str, why: str) -> Settlement:
    """Leave a run to a person: the code here cannot read what is stored."""
    then = PutBack(
        claimed.step,
        queue,
        delay=float("inf"),
        reason="parked",
        waiting_for=why[:2000],
        failures=claimed.failures,
        put_off=claimed.put_off,
    )
    return Settlement(claimed.work_id, claimed.epoch, claimed.run_id, then)


def finished(claimed: Claimed, declaration: Declaration[Any], default_queue: str) -> Settlement:
    """End a run of which the code here has no step left to execute."""
    last = next(
        (one.name for one in reversed(declaration.steps) if one.name in claimed.outputs), None
    )
    end = End(
        "succeeded",
        output_step=last,
        owns_key=claimed.key is not None,
        key_seconds=declaration.idempotency,
    )
    output = claimed.outputs.get(last, b"null") if last else b"null"
    made = _handlers(claimed, declaration, default_queue, "task.completed", orjson.Fragment(output))
    return Settlement(claimed.work_id, claimed.epoch, claimed.run_id, end, handlers=made)


def out_of_time(branch: Branch, default_queue: str) -> Settlement:
    """Fail a run whose own time limit has passed."""
    failure = Failure(
        "RunTimeLimitExceeded", "the run's own time limit passed before its last step", ""
    )
    return _end(branch, default_queue, _failed(branch, failure), failure=failure)


def _advance(
    branch: Branch, output: bytes, default_queue: str, costs: Costs, room: Room, go_on: bool
) -> Settlement:
    now = monotonic()
    result = Result(
        branch.step.name,
        branch.step.version,
        branch.number,
        output,
        started_ago=now - branch.step_started_at,
        finished_ago=0.0,
    )
    following = branch.following()
    if following is None:
        end = End(
            "succeeded",
            output_step=branch.declaration.steps[-1].name,
            started_ago=now - (branch.first_body_at or now),
            owns_key=branch.claimed.key is not None,
            key_seconds=branch.declaration.idempotency,
        )
        return _end(branch, default_queue, end, result=result, output=output)
    cost = costs.known.get(following.task_name)
    if (
        go_on
        and same_segment(branch.declaration, branch.step, following, default_queue)
        and room.admit(cost)
    ):
        return _settled(
            branch, Keep(following.name, mark=cost is None or cost > BUDGET), result=result
        )
    return _settled(
        branch, PutBack(following.name, following.queue or default_queue), result=result
    )


def _again(branch: Branch, again: Again, default_queue: str) -> Settlement:
    left = branch.seconds_left
    delay = again.delay if left is None else max(0.0, min(again.delay, left))
    then = PutBack(
        branch.step.name,
        branch.step.queue or default_queue,
        delay=delay,
        reason=again.reason,
        waiting_for=again.waiting_for,
        failures=branch.failures + (1 if again.counts else 0),
        put_off=branch.put_off + again.put_off,
        tried=again.attempt_outcome is not None,
    )
    attempt = (
        _attempt(branch, again.attempt_outcome, again.failure) if again.attempt_outcome else None
    )
    return _settled(branch, then, attempt=attempt)


def _failed(branch: Branch, failure: Failure) -> End:
    first = branch.first_body_at
    return End(
        "failed",
        error=failure.encode(branch.step.name),
        started_ago=None if first is None else monotonic() - first,
        owns_key=branch.claimed.key is not None,
        key_seconds=branch.declaration.idempotency,
    )


def _attempt(branch: Branch, outcome: str, failure: Failure | None) -> Attempt:
    return Attempt(
        branch.step.name,
        outcome,
        failure.encode() if failure else None,
        started_ago=monotonic() - branch.step_started_at,
        number=branch.number,
    )


def _end(
    branch: Branch,
    default_queue: str,
    end: End,
    *,
    result: Result | None = None,
    attempt: Attempt | None = None,
    output: bytes = b"null",
    failure: Failure | None = None,
) -> Settlement:
    if failure is None:
        name, data = "task.completed", orjson.Fragment(output)
    else:
        name, data = "task.failed", orjson.Fragment(failure.encode(branch.step.name))
    made = _handlers(branch.claimed, branch.declaration, default_queue, name, data)
    return _settled(branch, end, result=result, attempt=attempt, handlers=made)


def _settled(
    branch: Branch,
    then: Keep | PutBack | End,
    *,
    result: Result | None = None,
    attempt: Attempt | None = None,
    handlers: Sequence[Handler] = (),
) -> Settlement:
    held = branch.claimed
    return Settlement(held.work_id, held.epoch, held.run_id, then, result, attempt, handlers)


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
