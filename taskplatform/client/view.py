"""What is shown of a run: by the API, by `-o json` and on the page, in the same words."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

StepStatus = Literal["succeeded", "reused", "failed", "running", "waiting", "pending", "cancelled"]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class ErrorView(_View):
    """What went wrong in an attempt."""

    type: str
    message: str
    traceback: str | None = None


class RunErrorView(ErrorView):
    """What ended the run, and in which step."""

    step: str | None = None


class AttemptView(_View):
    """One execution of a step's body; a running one has outcome `running` and no end."""

    number: int
    started_at: datetime | None
    finished_at: datetime | None
    outcome: str
    error: ErrorView | None
    worker: str | None
    log: str | None = None


class ProgressView(_View):
    """How far a body says it is, or how many of a map's items have ended."""

    done: float | None
    total: float | None
    heartbeat_at: datetime | None = None


class StepView(_View):
    """A step of a run, or an item of a map, named `step[3]`, whose `input` is the item.

    The `input` of a step is null if the imported code does not declare it. `log` is that of the
    latest attempt that wrote one.
    """

    name: str
    status: StepStatus
    input: Any
    output: Any
    attempts: list[AttemptView]
    reason: str | None = None
    due_at: datetime | None = None
    waiting_for: str | None = None
    progress: ProgressView | None = None
    log: str | None = None
    child_run: UUID | None = None

    @property
    def item_of(self) -> str | None:
        """The map whose item it is; None for a step."""
        step, bracket, _ = self.name.partition("[")
        return step if bracket else None


class HolderView(_View):
    """Who has a part of a limit now."""

    run_id: UUID | None
    pipeline: str | None = None
    step: str | None = None
    worker: str | None = None
    since: datetime | None = None


class GateView(_View):
    """A limit that a branch waits for: so much of it is `used` of `most`, `per` seconds.

    `room_at` is when there is room for one more, if that is known.
    """

    kind: str
    name: str
    key: str
    most: int | None = None
    used: int | None = None
    per: float | None = None
    state: str | None = None
    room_at: datetime | None = None
    holders: list[HolderView] = []


class WaitView(_View):
    """What a branch of an open run does or waits for, in words and in figures.

    `before` is how many come first, `starts_at` when it starts if all goes on as it went lately.
    """

    step: str
    state: Literal["executing", "claimed", "ready", "waiting"]
    why: str
    reason: str | None = None
    due_at: datetime | None = None
    worker: str | None = None
    queue: str | None = None
    before: int | None = None
    starts_at: datetime | None = None
    gate: GateView | None = None


class RunSummary(_View):
    """A run as it stands in a list."""

    id: UUID
    pipeline: str
    key: str | None
    owner: str | None
    status: str
    reason: str | None
    due_at: datetime | None
    waiting_for: str | None
    priority: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    replay_of: UUID | None
    parent_run: UUID | None = None


class RunView(_View):
    """A run with all that is known of it."""

    id: UUID
    pipeline: str
    key: str | None
    owner: str | None
    status: str
    reason: str | None
    due_at: datetime | None
    waiting_for: str | None
    priority: int
    input: Any
    output: Any
    error: RunErrorView | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    replay_of: UUID | None
    parent_run: UUID | None = None
    children: list[UUID] = []
    steps: list[StepView]
    waits: list[WaitView] = []
