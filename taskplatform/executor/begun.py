"""Begun: one attempt from the note that its body starts to its outcome, whoever waits for it."""

import logging
from collections.abc import Callable
from time import monotonic, monotonic_ns
from typing import Any

import psycopg

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
from taskplatform.executor.async_body import Silence, Unwanted
from taskplatform.executor.branch import Branch
from taskplatform.executor.child import Child
from taskplatform.executor.step_log import StepLog, current_log

logger = logging.getLogger(__name__)

# A body that ignores the soft limit is killed this long after it.
HARD_GRACE = 3.0
# A second connection is one that the server may not have left.
NO_CONNECTION_PAUSE = 2.0
NO_PROGRESS = (None, None)


class Revoked(Exception):
    """The supervisor took the claim back just before the body started."""


def begin(child: Child, branch: Branch) -> "Begun | Withheld":
    """Note that the branch's next body starts now; or say why it cannot.

    Raises Revoked if the claim was taken back.
    """
    step, left = branch.step, branch.seconds_left
    seconds = step.timeout
    if left is not None:
        seconds = max(0.001, min(seconds, left))
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
    return Begun(child, branch, seconds)


class Begun:
    """A body that starts; `outcome` is called once."""

    __slots__ = ("_around", "_branch", "_child", "_log", "_reporter", "seconds", "token")

    def __init__(self, child: Child, branch: Branch, seconds: float) -> None:
        self._child = child
        self._branch = branch
        self._reporter = child.reporter
        self.seconds = seconds
        self.token = child.instrument.started(branch.step, branch.run, branch.number, branch.label)
        self._log = StepLog(branch.secrets)
        self._around = current_log.set(self._log)
        branch.step_started_at = monotonic()

    @property
    def silence(self) -> Silence | None:
        """Tells for how long the body may be silent; None: it need not report."""
        reporter = self._reporter
        return reporter.left if reporter and self._branch.step.heartbeat else None

    def outcome(self, make: Callable[..., Any], *given: Any) -> Outcome:
        """What the body came to: `make` returns its value or raises what ended it."""
        step, limit, log = self._branch.step, self._child.time_limit, self._log
        raised: BaseException | None = None
        put_off: BaseException | None = None
        outcome: Outcome
        try:
            try:
                outcome = Succeeded(*step.write(make(*given)))
            finally:
                limit.armed = False
        except (HandedBack, Unwanted):
            outcome = Interrupted()
        except RetryAfter as error:
            put_off = error
            outcome = PutOff(error.seconds, Failure.of(error, log.conceal))
        except Permanent as error:
            raised, outcome = error, Failed(Failure.of(error, log.conceal), permanent=True)
        except TimeLimitExceeded as error:
            raised, outcome = error, TimedOut(Failure.of(error, log.conceal))
        except BaseException as error:
            raised, outcome = error, Failed(Failure.of(error, log.conceal))
        limit.armed = False
        if step.breakers:
            self._branch.raised = raised or put_off
        self._end(outcome, raised)
        return outcome

    def _end(self, outcome: Outcome, raised: BaseException | None) -> None:
        child, branch, reporter = self._child, self._branch, self._reporter
        step, started_at = branch.step, branch.step_started_at
        current_log.reset(self._around)
        branch.progress = NO_PROGRESS if reporter is None else reporter.end()
        branch.log = self._log.close(outcome.output if type(outcome) is Succeeded else None)
        if raised is not None:
            self._log.conceal.scrub(raised)
        if step.transactional:
            child.own_transaction.ended(outcome)
        child.slot.end()
        child.instrument.ended(self.token, step, outcome, raised)
        if branch.first_body_at is None:
            branch.first_body_at = started_at
        branch.step_ended_at = ended_at = monotonic()
        # A batch is claimed by its leader alone, as what costs nobody knows how much.
        share = ended_at - started_at
        if step.batch is None:
            child.costs.observe(step.task_name, share)
        else:
            share /= 1 + len(branch.company)
            for one in branch.company:
                child.lanes.use(one.claimed, share)
        child.lanes.use(branch.claimed, share)


def _not_begun(child: Child, seconds: float) -> Withheld | None:
    try:
        child.own_transaction.begin(seconds)
    except (psycopg.Error, Unavailable) as error:
        logger.warning("a transactional step has no connection: %s", error)
        return Withheld("retry", NO_CONNECTION_PAUSE, "a connection to the database")
    return None
