"""What follows from an attempt's outcome."""

import math
from dataclasses import dataclass
from typing import assert_never

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
from taskplatform.core.run import Reason
from taskplatform.core.step import Step

# RetryAfter(0) in a loop must come to an end too.
_LEAST_PUT_OFF = 1.0


@dataclass(slots=True)
class Advance:
    """Store the output and go on."""

    output: bytes


@dataclass(frozen=True, slots=True)
class InLine:
    """A place in a gate's line, by rank: what is taken there, and how full the limit may be."""

    gate: str
    weight: int = 1
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Again:
    """Execute the step again after `delay` seconds.

    `counts`: it uses one retry. `attempt_outcome`: None if no attempt was made. `put_off`:
    seconds to add to what the step was put off so far. `line`: it stands in line until it is
    released, and `delay` does not count.
    """

    reason: Reason
    delay: float
    counts: bool
    attempt_outcome: str | None
    failure: Failure | None
    put_off: float = 0.0
    waiting_for: str | None = None
    line: InLine | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """End the run as failed."""

    attempt_outcome: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class HandBack:
    """Make the work claimable again at once; the attempt was interrupted."""


Disposition = Advance | Again | Fail | HandBack


def dispose(
    step: Step,
    outcome: Outcome,
    failures: int,
    put_off: float,
    put_off_limit: float,
    random: float,
) -> Disposition:
    """Decide what an outcome leads to.

    `failures` and `put_off` (seconds) are what the step used before this attempt; `random` is
    a number from 0 to 1.
    """
    match outcome:
        case Succeeded(output):
            return Advance(output)
        case Failed(failure, permanent):
            return _failed(step, "failed", failure, failures, random, permanent)
        case TimedOut(failure):
            return _failed(step, "timed-out", failure, failures, random, False)
        case PutOff(seconds, failure):
            return _put_off(seconds, failure, put_off, put_off_limit)
        case Interrupted():
            return HandBack()
        case Withheld(reason, seconds, waiting_for, gate, weight, share):
            line = None if gate is None else InLine(gate, weight, share)
            return Again(
                Reason(reason), seconds, False, None, None, waiting_for=waiting_for, line=line
            )
        case _:
            assert_never(outcome)


def _failed(
    step: Step, outcome: str, failure: Failure, failures: int, random: float, permanent: bool
) -> Disposition:
    delay = None if permanent else step.retry.delay(failures + 1, random)
    if delay is None:
        return Fail(outcome, failure)
    return Again(Reason.RETRY, delay, True, outcome, failure)


def _put_off(seconds: float, failure: Failure, so_far: float, limit: float) -> Disposition:
    charged = max(seconds, _LEAST_PUT_OFF)
    if math.isfinite(charged) and so_far + charged <= limit:
        return Again(Reason.RETRY, max(seconds, 0.0), False, "put-off", failure, put_off=charged)
    message = (
        f"put off by {seconds:g} s after {so_far:g} s before, more than the limit of "
        f"{limit:g} s in all: {failure.message}"
    )
    return Fail("failed", Failure(failure.type, message, failure.traceback))
