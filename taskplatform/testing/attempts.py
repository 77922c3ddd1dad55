"""The attempts at one step or item, until it has an output or ends the run."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from taskplatform.core.disposition import Advance, Again, Disposition, Fail, HandBack, dispose
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import Outcome
from taskplatform.core.step import Step, Unreadable
from taskplatform.testing.bodies import Ended
from taskplatform.testing.ends import Failing, Parked, RunCancelled
from taskplatform.testing.record import TestAttempt, TestStep
from taskplatform.testing.side_by_side import Clock

# As in production, where crashes count that lie within a day.
CRASHES = 3
# A body that is interrupted every time would be executed for ever.
MOST = 100_000

Execution = Generator[float, None, Ended]


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for the attempts; times in seconds, the deadline since the start."""

    clock: Clock
    put_off_limit: float
    deadline: float | None

    @property
    def left(self) -> float:
        """The time that the run has left."""
        return float("inf") if self.deadline is None else self.deadline - self.clock.now


def attempts(
    limits: Limits, step: Step, record: TestStep, execute: Callable[[int], Execution]
) -> Generator[float, None, bytes]:
    """Execute the step until it has an output, which is returned.

    `execute` is given the number of the attempt. Raises Failing, Parked and RunCancelled.
    """
    clock = limits.clock
    failures, put_off, crashes = 0, 0.0, 0
    for number in range(1, MOST):
        try:
            ended = yield from _in_time(limits, record, execute(number))
        except Unreadable as error:
            raise Parked(record.name, str(error), error) from error
        if ended.cancelled:
            record.attempts.append(TestAttempt(number, "cancelled"))
            raise RunCancelled(record.name)
        if ended.outcome is None:
            crashes += 1
            _crashed(record, number, crashes)
            yield clock.now
            continue
        match disposition := _disposed(limits, step, ended.outcome, failures, put_off):
            case Advance(output):
                record.attempts.append(TestAttempt(number, "succeeded"))
                return output
            case Again():
                delay = max(0.0, min(disposition.delay, limits.left))
                failures += disposition.counts
                put_off += disposition.put_off
                assert disposition.attempt_outcome is not None
                record.attempts.append(
                    TestAttempt(
                        number,
                        disposition.attempt_outcome,
                        disposition.failure,
                        delay,
                        ended.exception,
                    )
                )
                yield clock.now + delay
            case HandBack():
                record.attempts.append(TestAttempt(number, "interrupted", delay=0.0))
                yield clock.now
            case Fail(outcome, failure):
                record.attempts.append(TestAttempt(number, outcome, failure, None, ended.exception))
                raise Failing(record.name, failure, ended.exception)
    raise RuntimeError(f"step '{record.name}' was attempted {MOST} times without an end")


def _in_time(limits: Limits, record: TestStep, execution: Execution) -> Execution:
    try:
        while True:
            if limits.left <= 0:
                why = "the run's own time limit passed before its last step"
                raise Failing(record.name, Failure("RunTimeLimitExceeded", why))
            due = next(execution)
            yield due if limits.deadline is None else min(due, limits.deadline)
    except StopIteration as stop:
        ended: Ended = stop.value
        return ended


def _disposed(
    limits: Limits, step: Step, outcome: Outcome, failures: int, put_off: float
) -> Disposition:
    # In the middle: growing delays are spread in production, and here they are what they say.
    return dispose(step, outcome, failures, put_off, limits.put_off_limit, random=0.5)


def _crashed(record: TestStep, number: int, crashes: int) -> None:
    parked = crashes == CRASHES
    failure = Failure("Crashed", "the process that executed it died")
    record.attempts.append(TestAttempt(number, "crashed", failure, None if parked else 0.0))
    if parked:
        raise Parked(record.name, f"step {record.name} crashed {crashes} times in 24 hours")
