"""One attempt in process: call the body, or let happen to it what the test wants."""

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

from taskplatform.core.failure import Failure
from taskplatform.core.outcome import (
    Failed,
    Interrupted,
    Outcome,
    Succeeded,
    outcome_of,
)
from taskplatform.core.outcome import TimedOut as OutOfTime
from taskplatform.core.step import Step
from taskplatform.errors import Interrupted as HandedBack
from taskplatform.errors import TimeLimitExceeded
from taskplatform.executor.company import as_many
from taskplatform.testing.failures import Injected
from taskplatform.testing.loop import Loop
from taskplatform.testing.markers import Cancelled, Crash, TimedOut


@dataclass(frozen=True, slots=True)
class Ended:
    """What an attempt came to; without an outcome its process died, or its run was cancelled."""

    outcome: Outcome | None
    exception: BaseException | None = None
    cancelled: bool = False


def attempt(step: Step, arguments: dict[str, Any], injected: Injected | None, loop: Loop) -> Ended:
    """Execute the body once, or what is injected in its place.

    What is no failure of a body passes: KeyboardInterrupt, and pytest's own fail and skip.
    """
    match injected:
        case Crash(after_body=False):
            return Ended(None)
        case Crash() | Cancelled():
            _body(step, arguments, loop)
            return Ended(None, cancelled=isinstance(injected, Cancelled))
        case TimedOut():
            why = f"the attempt ran longer than its timeout of {step.timeout:g} s"
            return judged(TimeLimitExceeded(why))
        case BaseException():
            return judged(injected)
        case None:
            return _body(step, arguments, loop)


def judged(error: BaseException) -> Ended:
    """What an exception makes of an attempt."""
    outcome: Outcome
    match error:
        case HandedBack():
            outcome = Interrupted()
        case TimeLimitExceeded():
            outcome = OutOfTime(Failure.of(error))
        case Exception():
            outcome = outcome_of(error)
        case _:
            outcome = Failed(Failure.of(error))
    return Ended(outcome, error)


def _body(step: Step, arguments: dict[str, Any], loop: Loop) -> Ended:
    try:
        value = step.function(**arguments)
        if inspect.iscoroutine(value):
            value = loop.run(value)
        if step.batch is not None:
            (value,) = as_many(step, value, 1)
            if isinstance(value, Exception):
                raise value
        return Ended(Succeeded(step.encode(value)))
    except (Exception, HandedBack, SystemExit, asyncio.CancelledError) as error:
        return judged(error)
