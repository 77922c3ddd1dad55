"""The contract of a middleware around a step, and the fold that makes one callable of many."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from taskplatform.core.outcome import Outcome
from taskplatform.core.step import Step
from taskplatform.storage.connection import Session


@dataclass(frozen=True, slots=True)
class StepAttempt:
    """What a middleware may know: the attempt that is about to start.

    `transaction` opens one on a connection that nobody else uses meanwhile.
    """

    step: Step
    run_id: UUID
    number: int
    input: Any
    transaction: Callable[[], AbstractContextManager[Session]]
    work_id: int = 0
    epoch: int = 0


Proceed = Callable[[], Outcome]
AroundStep = Callable[[StepAttempt, Proceed], Outcome]


def compose(around: Sequence[AroundStep], attempt: StepAttempt, body: Proceed) -> Proceed:
    """Wrap `body` in the middlewares, the first one outermost."""
    for one in reversed(around):
        body = partial(one, attempt, body)
    return body
