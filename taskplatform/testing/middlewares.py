"""The application's middlewares around a step, as they stand around it in a worker."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from taskplatform.core.outcome import Outcome
from taskplatform.core.step import Step
from taskplatform.middleware import StepAttempt, compose
from taskplatform.middleware.own import own_step
from taskplatform.storage.connection import Session
from taskplatform.testing.bodies import Ended
from taskplatform.testing.given import NotGiven

if TYPE_CHECKING:
    from taskplatform.testing.simulation import Simulation


class _NoOutcome(Exception):
    """The process died, or the run was cancelled: nobody is left to be told."""


def attended(run: "Simulation", step: Step, number: int, execute: Callable[[], Ended]) -> Ended:
    """Execute an attempt inside of the middlewares."""
    own = own_step()
    if not own:
        return execute()
    came_to: list[Ended] = []

    def proceed() -> Outcome:
        came_to.append(execute())
        if came_to[0].outcome is None:
            raise _NoOutcome
        return came_to[0].outcome

    input = step.read_input(run.input)
    known = StepAttempt(step, run.id, number, input, _no_database, _no_database, 0, 0)
    try:
        outcome = compose(own, known, proceed)()
    except _NoOutcome:
        return came_to[0]
    if came_to and outcome is came_to[0].outcome:
        return came_to[0]
    return Ended(outcome)


def _no_database() -> AbstractContextManager[Session]:
    raise NotGiven("a middleware asks for a transaction: in process there is no database")
