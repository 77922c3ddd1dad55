"""The attempts at one step or item, until it has an output or ends the run."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from taskplatform.core.context import Context
from taskplatform.core.disposition import Advance, Again, Fail, HandBack, dispose
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import Outcome
from taskplatform.core.step import Step, Unreadable
from taskplatform.testing.bodies import Ended, attempt
from taskplatform.testing.ends import Failing, Parked, RunCancelled
from taskplatform.testing.failures import Injected
from taskplatform.testing.loop import Loop
from taskplatform.testing.markers import Cancelled, Crash, TimedOut
from taskplatform.testing.record import TestAttempt, TestStep
from taskplatform.testing.side_by_side import Clock

# As in production, where crashes count that lie within a day.
CRASHES = 3
# A body that is interrupted every time would be executed for ever.
MOST = 100_000


@dataclass(frozen=True, slots=True)
class Attempting:
    """What all attempts of a run share. Times in seconds."""

    clock: Clock
    loop: Loop
    put_off_limit: float
    deadline: float | None
    injected: Callable[[str, int], Injected | None]
    context: Callable[[TestStep, int, Injected | None], Context]


def attempts(
    shared: Attempting,
    step: Step,
    record: TestStep,
    bind: Callable[[Context], dict[str, Any]],
    *,
    undoing: bool = False,
) -> Generator[float, None, bytes]:
    """Execute the step until it has an output, which is returned.

    Raises Failing, Parked and RunCancelled.
    """
    clock = shared.clock
    deadline = None if undoing else shared.deadline
    failures, put_off, crashes = 0, 0.0, 0
    for number in range(1, MOST):
        if deadline is not None and clock.now >= deadline:
            why = "the run's own time limit passed before its last step"
            raise Failing(step.name, Failure("RunTimeLimitExceeded", why))
        injected = shared.injected(record.name, number)
        ctx = shared.context(record, number, injected)
        try:
            arguments = bind(ctx)
        except Unreadable as error:
            record.status = "waiting"
            raise Parked(record.name, str(error), error) from error
        ended = attempt(step, arguments, injected, shared.loop)
        if isinstance(injected, TimedOut):
            yield clock.now + step.timeout
        if isinstance(injected, Cancelled):
            record.attempts.append(TestAttempt(number, "cancelled"))
            record.status = "cancelled"
            raise RunCancelled
        if isinstance(injected, Crash) or ended.outcome is None:
            crashes += 1
            _crashed(record, number, crashes)
            yield clock.now
            continue
        disposition = _disposed(shared, step, ended.outcome, failures, put_off)
        match disposition:
            case Advance(output):
                record.attempts.append(TestAttempt(number, "succeeded"))
                record.status = "succeeded"
                return output
            case Again():
                delay = disposition.delay
                if deadline is not None:
                    delay = max(0.0, min(delay, deadline - clock.now))
                failures += disposition.counts
                put_off += disposition.put_off
                _failed(record, number, disposition.attempt_outcome, ended, delay)
                yield clock.now + delay
            case HandBack():
                record.attempts.append(TestAttempt(number, "interrupted", delay=0.0))
                yield clock.now
            case Fail(outcome, failure):
                _failed(record, number, outcome, ended, None, failure)
                record.status = "failed"
                raise Failing(record.name, failure, ended.exception)
    raise RuntimeError(f"step '{record.name}' was attempted {MOST} times without an end")


def _disposed(
    shared: Attempting, step: Step, outcome: Outcome, failures: int, put_off: float
) -> Advance | Again | Fail | HandBack:
    # In the middle: growing delays are spread in production, and here they are what they say.
    return dispose(step, outcome, failures, put_off, shared.put_off_limit, random=0.5)


def _crashed(record: TestStep, number: int, crashes: int) -> None:
    parked = crashes == CRASHES
    failure = Failure("Crashed", "the process that executed it died")
    record.attempts.append(TestAttempt(number, "crashed", failure, None if parked else 0.0))
    if parked:
        record.status = "waiting"
        raise Parked(record.name, f"step {record.name} crashed {crashes} times in 24 hours")


def _failed(
    record: TestStep,
    number: int,
    outcome: str | None,
    ended: Ended,
    delay: float | None,
    failure: Failure | None = None,
) -> None:
    if failure is None and ended.exception is not None:
        failure = Failure.of(ended.exception)
    assert outcome is not None
    record.attempts.append(TestAttempt(number, outcome, failure, delay, ended.exception))
