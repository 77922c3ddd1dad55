"""One attempt: bind the arguments, pass the middlewares, call the function, judge what came."""

import asyncio
from time import monotonic, monotonic_ns
from typing import Any

from taskplatform.core.context import Context
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import (
    Failed,
    Interrupted,
    Outcome,
    PutOff,
    Succeeded,
    TimedOut,
)
from taskplatform.errors import Interrupted as HandedBack
from taskplatform.errors import Permanent, RetryAfter, TimeLimitExceeded
from taskplatform.executor.branch import Branch
from taskplatform.executor.child import Child
from taskplatform.middleware import AROUND_STEP, StepAttempt, compose

# A body that ignores the soft limit is killed this long after it.
HARD_GRACE = 3.0


class Revoked(Exception):
    """The supervisor took the claim back just before the body started."""


def attempt(child: Child, branch: Branch, arguments: dict[str, Any]) -> Outcome:
    """Execute the body of the branch's next step once, within its limits.

    Raises Revoked if the claim was taken back, and psycopg.Error or Unavailable if a middleware
    could not ask the database, before the body started.
    """

    def body() -> Outcome:
        return _execute(child, branch, arguments)

    branch.step_started_at = monotonic()
    if not branch.step.throttles:
        return body()
    known = StepAttempt(
        branch.step,
        branch.claimed.run_id,
        branch.number,
        branch.step.input.decode(branch.claimed.input),
        child.transaction,
    )
    return compose(AROUND_STEP, known, body)()


def context(child: Child, branch: Branch) -> Context:
    """The `ctx` of the attempt that is about to start."""
    return Context(
        run_id=branch.claimed.run_id,
        step=branch.label,
        attempt=branch.number,
        cancelled=lambda: child.slot.cancelled,
    )


def _execute(child: Child, branch: Branch, arguments: dict[str, Any]) -> Outcome:
    step, limit = branch.step, child.time_limit
    left = branch.seconds_left
    seconds = step.timeout if left is None else max(0.001, min(step.timeout, left))
    hard = monotonic_ns() + int((seconds + HARD_GRACE) * 1e9)
    child.slot.begin(branch.claimed.work_id, branch.claimed.epoch, hard)
    # After the note, never before it: either the supervisor sees the note and spares this claim,
    # or its request is seen here.
    if child.slot.revoke:
        child.slot.end()
        raise Revoked
    token = child.instrument.started(step, branch.claimed.run_id, branch.number)
    branch.step_started_at = monotonic()
    raised: BaseException | None = None
    outcome: Outcome
    try:
        try:
            limit.arm(seconds)
            value = step.function(**arguments)
            if step.is_async:
                value = asyncio.run(value)
            outcome = Succeeded(step.encode(value))
        finally:
            limit.disarm()
    except HandedBack:
        outcome = Interrupted()
    except RetryAfter as error:
        outcome = PutOff(error.seconds, Failure.of(error))
    except Permanent as error:
        raised, outcome = error, Failed(Failure.of(error), permanent=True)
    except TimeLimitExceeded as error:
        raised, outcome = error, TimedOut(Failure.of(error))
    except BaseException as error:
        raised, outcome = error, Failed(Failure.of(error))
    limit.disarm()
    child.slot.end()
    child.instrument.ended(token, step, outcome, raised)
    if branch.first_body_at is None:
        branch.first_body_at = branch.step_started_at
    child.costs.observe(step.task_name, monotonic() - branch.step_started_at)
    return outcome
