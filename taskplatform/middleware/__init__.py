"""Middleware: what happens around every enqueue and every step, as one ordered list each.

Around a step a middleware wraps a callable: it may refuse by returning an outcome of its own, or
pass on by calling `proceed`. Around an enqueue it is a generator: it may refuse by raising, or
pass on by its one `yield`. The application's own stand outside of the platform's.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from taskplatform.core.step import Step
from taskplatform.middleware.batch import batch
from taskplatform.middleware.breaker import breaker
from taskplatform.middleware.chain import AroundStep, Proceed, StepAttempt, compose
from taskplatform.middleware.concurrency import concurrency
from taskplatform.middleware.debounce import debounce
from taskplatform.middleware.enqueuing import AroundEnqueue, Enqueuing, entered
from taskplatform.middleware.known import Breakers
from taskplatform.middleware.own import own_enqueue, own_step
from taskplatform.middleware.singleton import singleton
from taskplatform.middleware.throttle import throttle

# Outermost first: what a key is decides what waits for it.
AROUND_ENQUEUE: tuple[AroundEnqueue, ...] = (singleton, debounce, batch)
# Outermost first. A grant is void if it is not used at once, so nothing may come after it.
AROUND_STEP: tuple[AroundStep, ...] = (breaker, concurrency, throttle)

_PLATFORMS = tuple(contextmanager(one) for one in AROUND_ENQUEUE)
_NOTHING = nullcontext()

__all__ = [
    "AROUND_ENQUEUE",
    "AROUND_STEP",
    "AroundEnqueue",
    "AroundStep",
    "Breakers",
    "Enqueuing",
    "Proceed",
    "StepAttempt",
    "around",
    "compose",
    "enqueuing",
]


def around(step: Step) -> Sequence[AroundStep]:
    """What is put around an attempt at this step, outermost first; most have nothing."""
    own = own_step()
    return (*own, *AROUND_STEP) if step.is_limited else own


def enqueuing(call: Enqueuing) -> AbstractContextManager[object]:
    """Be inside of all that is put around an enqueue; around most there is nothing."""
    around = (*own_enqueue(), *_PLATFORMS) if call.declaration.dedups else own_enqueue()
    return entered(around, call) if around else _NOTHING
