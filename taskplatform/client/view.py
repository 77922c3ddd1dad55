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


class StepView(_View):
    """A step of a run; `input` is null for a step the imported code does not declare."""

    name: str
    status: StepStatus
    input: dict[str, Any] | None
    output: Any
    attempts: list[AttemptView]


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
    steps: list[StepView]
