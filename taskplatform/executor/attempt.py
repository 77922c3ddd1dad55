"""One attempt: bind the arguments, pass the middlewares, call the function, judge what came."""

import logging
from collections.abc import Coroutine
from functools import partial
from time import monotonic, monotonic_ns
from types import CoroutineType
from typing import Any

import psycopg

from taskplatform.core.context import Context
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import (
    Failed,
    Interrupted,
    Outcome,
    PutOff,
    Succeeded,
    TimedOut,
    Withheld,
)
from taskplatform.errors import Interrupted as HandedBack
from taskplatform.errors import Permanent, RetryAfter, TimeLimitExceeded, Unavailable
from taskplatform.executor.async_body import AsyncBody, Unwanted
from taskplatform.executor.branch import Branch
from taskplatform.executor.child import Child
from taskplatform.executor.reports import Reporter
from taskplatform.executor.resumed import Resumed
from taskplatform.executor.step_log import StepLog, current_log, step_logger
from taskplatform.middleware import AROUND_STEP, StepAttempt, compose

logger = logging.getLogger(__name__)

# A body that ignores the soft limit is killed this long after it.
HARD_GRACE = 3.0
# A second connection is one that the server may not have left.
NO_CONNECTION_PAUSE = 2.0
NO_PROGRESS = (None, None)
_UNSEEN = Context()


class Revoked(Exception):
    """The supervisor took the claim back just before the body started."""


def attempt(child: Child, branch: Branch, arguments: dict[str, Any]) -> Outcome:
    """Execute the body of the branch's next step once, within its limits.

    Raises Revoked if the claim was taken back, Unreadable, and psycopg.Error or Unavailable if a
    middleware could not ask the database, before the body started.
    """
    branch.step_started_at = monotonic()
    branch.progress, branch.log = NO_PROGRESS, None
    if not branch.step.throttles:
        return _execute(child, branch, arguments)
    known = StepAttempt(
        branch.step,
        branch.claimed.run_id,
        branch.number,
        branch.step.read_input(branch.claimed.input),
        child.transaction,
    )
    return compose(AROUND_STEP, known, partial(_execute, child, branch, arguments))()


def context(child: Child, branch: Branch) -> Context:
    """The `ctx` of the attempt that is about to start."""
    if not branch.step.wants_context and branch.step.heartbeat is None:
        # Nobody can report: what would carry that is not made.
        child.reporter = None
        return _UNSEEN
    child.reporter = reporter = Reporter(child.slot)
    return Context(
        run_id=branch.claimed.run_id,
        step=branch.label,
        attempt=branch.number,
        epoch=branch.claimed.epoch,
        logger=step_logger,
        progress=reporter.progress,
        heartbeat=reporter.heartbeat,
        cancelled=lambda: child.slot.cancelled,
        connection=child.own_transaction.connection if branch.step.transactional else None,
    )


def _execute(child: Child, branch: Branch, arguments: dict[str, Any]) -> Outcome:
    step, limit = branch.step, child.time_limit
    left = branch.seconds_left
    seconds = step.timeout if left is None else max(0.001, min(step.timeout, left))
    if step.transactional and (why := _not_begun(child, seconds)):
        return why
    hard = monotonic_ns() + int((seconds + HARD_GRACE) * 1e9)
    reporter, slot, claimed = child.reporter, child.slot, branch.claimed
    started_ns = slot.begin(claimed.work_id, claimed.epoch, hard)
    if reporter is not None:
        reporter.begin(claimed.work_id, claimed.epoch, started_ns, step.heartbeat)
    # After the note, never before it: either the supervisor sees the note and spares this claim,
    # or its request is seen here.
    if slot.revoke:
        slot.end()
        child.own_transaction.discard()
        raise Revoked
    token = child.instrument.started(step, claimed.run_id, branch.number, branch.label)
    log = StepLog(branch.secrets)
    around = current_log.set(log)
    branch.step_started_at = monotonic()
    raised: BaseException | None = None
    outcome: Outcome
    try:
        try:
            limit.arm(seconds, reporter.left if reporter and step.heartbeat else None)
            value = step.function(**arguments)
            if isinstance(value, CoroutineType):
                limit.disarm()
                value = _on_the_loop(child, value, token, seconds)
            outcome = Succeeded(step.encode(value))
        finally:
            limit.disarm()
    except (HandedBack, Unwanted):
        outcome = Interrupted()
    except RetryAfter as error:
        outcome = PutOff(error.seconds, Failure.of(error, log.conceal))
    except Permanent as error:
        raised, outcome = error, Failed(Failure.of(error, log.conceal), permanent=True)
    except TimeLimitExceeded as error:
        raised, outcome = error, TimedOut(Failure.of(error, log.conceal))
    except BaseException as error:
        raised, outcome = error, Failed(Failure.of(error, log.conceal))
    limit.disarm()
    current_log.reset(around)
    branch.progress = reporter.end() if reporter is not None else NO_PROGRESS
    branch.log = log.close(outcome.output if isinstance(outcome, Succeeded) else None)
    if raised is not None:
        log.conceal.scrub(raised)
    if step.transactional:
        child.own_transaction.ended(outcome)
    slot.end()
    child.instrument.ended(token, step, outcome, raised)
    if branch.first_body_at is None:
        branch.first_body_at = branch.step_started_at
    child.costs.observe(step.task_name, monotonic() - branch.step_started_at)
    return outcome


def _not_begun(child: Child, seconds: float) -> Withheld | None:
    try:
        child.own_transaction.begin(seconds)
    except (psycopg.Error, Unavailable) as error:
        logger.warning("a transactional step has no connection: %s", error)
        return Withheld("retry", NO_CONNECTION_PAUSE, "a connection to the database")
    return None


def _on_the_loop(
    child: Child, coroutine: Coroutine[Any, Any, Any], token: Any, seconds: float
) -> Any:
    instrument, reporter = child.instrument, child.reporter
    return AsyncBody(
        Resumed(coroutine, partial(instrument.entered, token), partial(instrument.left, token)),
        slot=child.slot,
        seconds=seconds,
        silence=reporter.left if reporter and reporter.silence is not None else None,
        bounded=not child.time_limit.available,
    ).result()
