"""Middleware: what happens around every enqueue and every step, as one ordered list each.

A middleware is a callable that wraps a callable: it may do something before, refuse by returning
an outcome of its own, or pass on by calling `proceed`.
"""

from taskplatform.middleware.breaker import breaker
from taskplatform.middleware.chain import AroundStep, Proceed, StepAttempt, compose
from taskplatform.middleware.concurrency import concurrency
from taskplatform.middleware.known import Breakers
from taskplatform.middleware.throttle import throttle

# Outermost first. A grant is void if it is not used at once, so nothing may come after it.
AROUND_STEP: tuple[AroundStep, ...] = (breaker, concurrency, throttle)

__all__ = ["AROUND_STEP", "AroundStep", "Breakers", "Proceed", "StepAttempt", "compose"]
