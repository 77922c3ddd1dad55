"""Instruments: what wants to see every attempt begin and end, without the executor knowing it."""

from typing import Any, Protocol

from taskplatform.core.outcome import Outcome
from taskplatform.core.step import Step


class Instrument(Protocol):
    """Called around every attempt, in the thread that executes it; must not raise.

    An async body goes on in the thread of the event loop, among others: `entered` and `left` are
    called there around each of its steps.
    """

    def started(self, step: Step, run: str, number: int, label: str) -> Any:
        """The body is about to start; what is returned comes back to `ended`.

        `run` is the run's id, `label` is the step's name, with the place of an item in a map.
        """

    def entered(self, token: Any) -> None:
        """An async body goes on, in the thread that calls this."""

    def left(self, token: Any) -> None:
        """An async body waits."""

    def ended(self, token: Any, step: Step, outcome: Outcome, error: BaseException | None) -> None:
        """The body has ended."""


class Silent:
    """Sees nothing."""

    def started(self, step: Step, run: str, number: int, label: str) -> Any:  # noqa: ARG002
        return None

    def entered(self, token: Any) -> None:  # noqa: ARG002
        return None

    def left(self, token: Any) -> None:  # noqa: ARG002
        return None

    def ended(
        self,
        token: Any,  # noqa: ARG002
        step: Step,  # noqa: ARG002
        outcome: Outcome,  # noqa: ARG002
        error: BaseException | None,  # noqa: ARG002
    ) -> None:
        return None
