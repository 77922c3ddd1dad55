"""The contract of a middleware around a step, and the fold that makes one callable of many."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from taskplatform.core.outcome import Outcome
from taskplatform.core.step import Step
from taskplatform.middleware.known import Breakers
from taskplatform.storage.connection import Session
from taskplatform.storage.slots import Asking


@dataclass(frozen=True, slots=True)
class StepAttempt:
    """What a middleware may know: the attempt that is about to start.

    `transaction` opens one on a connection that nobody else uses meanwhile, `session` gives that
    connection without one. `gates` are those at which the attempt has asked for a slot, with their
    limits: whatever it comes to, they are given back. `raised` is what ended the body, if the step
    has breakers.
    """

    step: Step
    run_id: UUID
    number: int
    input: Any
    transaction: Callable[[], AbstractContextManager[Session]]
    session: Callable[[], AbstractContextManager[Session]]
    work_id: int
    epoch: int
    gates: dict[str, int] = field(default_factory=dict)
    breakers: Breakers = field(default_factory=Breakers)
    raised: Callable[[], BaseException | None] = lambda: None

    @property
    def asking(self) -> Asking:
        """Who asks for slots."""
        return Asking(self.work_id, self.run_id, self.epoch)


Proceed = Callable[[], Outcome]
AroundStep = Callable[[StepAttempt, Proceed], Outcome]


def compose(around: Sequence[AroundStep], attempt: StepAttempt, body: Proceed) -> Proceed:
    """Wrap `body` in the middlewares, the first one outermost."""
    for one in reversed(around):
        body = partial(one, attempt, body)
    return body
