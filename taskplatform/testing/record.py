"""What a run in process came to, for a test to look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, cast
from uuid import UUID

from typing_extensions import TypeVar

from taskplatform.core.event import Event
from taskplatform.core.failure import Failure
from taskplatform.errors import RunFailed

Out = TypeVar("Out", default=Any)


@dataclass(slots=True)
class TestAttempt:
    """One execution of a body; `delay` is in how many seconds the next one followed.

    `outcome` is succeeded, failed, timed-out, put-off, crashed, interrupted or cancelled.
    """

    __test__ = False

    number: int
    outcome: str
    error: Failure | None = None
    delay: float | None = None
    exception: BaseException | None = field(default=None, repr=False)


@dataclass(slots=True)
class TestStep:
    """A step, or an item of a map; `status` is pending, waiting, succeeded, failed or cancelled."""

    __test__ = False

    name: str
    status: str = "pending"
    attempts: list[TestAttempt] = field(default_factory=list)
    items: "list[TestStep]" = field(default_factory=list)
    progress: list[tuple[float, float]] = field(default_factory=list)

    @property
    def outcomes(self) -> list[str]:
        """The outcomes of its attempts in order."""
        return [one.outcome for one in self.attempts]


@dataclass(slots=True)
class TestRun(Generic[Out]):
    """A run that `testing.run` executed.

    `elapsed` is how many seconds it waited: for retries, sleeps, events and timeouts. `children`
    has the runs of its children by step; `handlers` those of the handlers of its events.
    """

    __test__ = False

    id: UUID
    pipeline: str
    status: str
    reason: str | None
    waiting_for: str | None
    error: Failure | None
    failed_step: str | None
    steps: list[TestStep]
    outputs: Mapping[str, Any]
    elapsed: float
    events: list[Event]
    children: "dict[str, TestRun[Any]]"
    handlers: "list[TestRun[Any]]"
    result: Out | None = field(repr=False)
    cause: BaseException | None = field(default=None, repr=False)

    @property
    def output(self) -> Out:
        """The run's output, of its declared type.

        Raises RunFailed if there is none.
        """
        return cast(Out, self.raise_for_status().result)

    @property
    def progress(self) -> list[tuple[float, float]]:
        """All that the steps reported by `ctx.progress`, in order of the steps."""
        return [one for step in self.steps for part in (step, *step.items) for one in part.progress]

    def step(self, name: str) -> TestStep:
        """A step, an item as `variation[3]`, or a compensation as `charge:compensate`.

        Raises KeyError.
        """
        for step in self.steps:
            for one in (step, *step.items):
                if one.name == name or one.name.replace("-", "_") == name:
                    return one
        raise KeyError(name)

    def raise_for_status(self) -> "TestRun[Out]":
        """The run itself if it has succeeded.

        Raises RunFailed, from the exception that a body raised.
        """
        if self.status == "succeeded":
            return self
        where = f" in step '{self.failed_step}'" if self.failed_step else ""
        why = f": {self.error.type}: {self.error.message}" if self.error else ""
        if self.reason:
            where, why = f" ({self.reason}){where}", f": {self.waiting_for}"
        raise RunFailed(
            f"the run of pipeline '{self.pipeline}' is {self.status}{where}{why}"
        ) from self.cause

    def __getitem__(self, step: str) -> Any:
        """The output of a step, of its declared type. Raises KeyError if it has none."""
        return self.outputs[step.replace("_", "-") if step not in self.outputs else step]
