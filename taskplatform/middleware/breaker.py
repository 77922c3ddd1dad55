"""Breaker: no body of a step starts while the API that it uses is known to fail."""

import logging
from math import inf
from time import monotonic

import psycopg

from taskplatform.core.breaker import Breaker
from taskplatform.core.outcome import Failed, Outcome, PutOff, Succeeded, TimedOut, Withheld
from taskplatform.core.step import InvalidOutput
from taskplatform.errors import Unavailable
from taskplatform.middleware.chain import Proceed, StepAttempt
from taskplatform.middleware.known import Known
from taskplatform.storage import breakers
from taskplatform.storage.breakers import State
from taskplatform.storage.gates import gate_of
from taskplatform.storage.slots import Full

logger = logging.getLogger(__name__)


def breaker(attempt: StepAttempt, proceed: Proceed) -> Outcome:
    """Let the body start if every breaker of the step does; tell them what it comes to."""
    tried: list[Breaker] = []
    for one in attempt.step.breakers:
        state, full = _ask(attempt, one)
        if full is not None:
            return _withheld(one, state, full)
        if state.state != "closed":
            tried.append(one)
    if not attempt.step.breakers:
        return proceed()
    outcome = made = proceed()
    for one in attempt.step.breakers:
        failed = _tell(attempt, one, made, one in tried)
        if failed and one in tried and isinstance(made, Failed | TimedOut):
            # It was let through to try the API: that is not the run's own failure.
            outcome = PutOff(one.cool_down, made.failure)
    return outcome


def _ask(attempt: StepAttempt, one: Breaker) -> tuple[State, Full | None]:
    known = attempt.breakers.known.get(one.name)
    if known is None or not known.is_fresh:
        known = _report(attempt, one, passed=_kept(attempt, one))
    if known.state.state == "closed":
        return known.state, None
    gate = gate_of("breaker", one.name)
    # Also when it is open: who is let go out of its line comes to half-open it.
    attempt.gates[gate] = 0
    if known.state.state == "open" and known.seconds_left > 0:
        return known.state, Full(gate, 0, 0)
    with attempt.transaction() as connection:
        return breakers.enter(connection, one, attempt.asking)


def _tell(attempt: StepAttempt, one: Breaker, outcome: Outcome, tried: bool) -> bool:
    """Count what the body came to; whether it counts as a failure."""
    failed = isinstance(outcome, TimedOut) or _is_failure(attempt, one)
    passed = isinstance(outcome, Succeeded | Failed) and not failed
    try:
        if tried and (failed or passed):
            count = {"passed": int(passed), "failed": int(failed)}
            _report(attempt, one, **count, why=_why(outcome), tried=True)
        elif failed:
            _report(attempt, one, passed=_kept(attempt, one), failed=1, why=_why(outcome))
        elif passed:
            with attempt.breakers.lock:
                attempt.breakers.known[one.name].passed += 1
    except (psycopg.Error, Unavailable) as error:
        # The body has ended: what it came to must not be lost for that.
        logger.warning("breaker %s was not told of an attempt: %s", one.name, error)
    return failed


def _kept(attempt: StepAttempt, one: Breaker) -> int:
    """What ended well and was not told yet; whoever asks has to tell it."""
    with attempt.breakers.lock:
        known = attempt.breakers.known.get(one.name)
        if known is None:
            return 0
        passed, known.passed = known.passed, 0
        return passed


def _report(
    attempt: StepAttempt,
    one: Breaker,
    *,
    passed: int = 0,
    failed: int = 0,
    why: str | None = None,
    tried: bool = False,
) -> Known:
    asked = monotonic()
    with attempt.transaction() as connection:
        state = breakers.report(connection, one, passed=passed, failed=failed, why=why, tried=tried)
    if state.changed == "closed":
        logger.warning("breaker %s is closed: its API answers", one.name)
    elif state.changed is not None and state.state == "open":
        logger.error("breaker %s is open: %s", one.name, state.changed)
    memory = attempt.breakers
    with memory.lock:
        old = memory.known.get(one.name)
        known = Known(state, asked, 0 if old is None else old.passed)
        memory.known[one.name] = known
    return known


def _is_failure(attempt: StepAttempt, one: Breaker) -> bool:
    error = attempt.raised()
    if error is None:
        return False
    try:
        return not isinstance(error, InvalidOutput) and one.blames(error)
    except Exception:
        logger.exception("breaker %s: counts= raised; the failure counts", one.name)
        return True


def _why(outcome: Outcome) -> str | None:
    if isinstance(outcome, Failed | TimedOut):
        return f"{outcome.failure.type}: {outcome.failure.message}"
    return None


def _withheld(one: Breaker, state: State, full: Full) -> Withheld:
    if state.state == "half-open":
        what = f"half-open, {full.taken} of {full.most} let through"
    elif state.seconds is None:
        what = "opened by hand"
    else:
        what = f"open, tried again in {max(0.0, state.seconds):.0f} s"
    return Withheld("breaker", inf, f"breaker {one.name}: {what}", full.gate)
