"""Rows of a run's history, as they are read; json columns are the bytes that were stored."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as stored; json columns are the bytes that were stored."""

    id: UUID
    pipeline: str
    key: str | None
    owner: str | None
    status: str
    reason: str | None
    due_at: datetime | None
    waiting_for: str | None
    priority: int
    input: bytes
    output_step: str | None
    error: bytes | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    replay_of: UUID | None
    replay_from: str | None
    parent_run: UUID | None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A step's output and the attempt that made it."""

    step: str
    output: bytes
    version: int
    attempt: int
    started_at: datetime
    finished_at: datetime
    worker: str | None
    reused_from: UUID | None
    log: str | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt that made no output."""

    step: str
    number: int
    outcome: str
    error: bytes | None
    started_at: datetime | None
    finished_at: datetime
    worker: str | None
    log: str | None


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item of a map; it has no end while it is open."""

    step: str
    position: int
    item: bytes
    version: int
    output: bytes | None
    failed: bool
    attempt: int | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    log: str | None

    @property
    def name(self) -> str:
        """As its attempts and its work are named."""
        return f"{self.step}[{self.position}]"


@dataclass(frozen=True, slots=True)
class WorkRow:
    """Where a branch of an open run stands; `started_at` is set while the body executes.

    `step` is the item's name for an item. `waits` without `due_at`: until somebody acts.
    """

    step: str
    started_at: datetime | None
    worker: str | None
    waits: bool
    due_at: datetime | None
    rest: str | None
    reason: str | None
    waiting_for: str | None
    main: bool
    failing: bool
    progress_done: float | None
    progress_total: float | None
    heartbeat_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChildRow:
    """A run that a step of this run waits for, or has waited for."""

    id: UUID
    step: str | None
    status: str


@dataclass(frozen=True, slots=True)
class History:
    """All that is stored of one run."""

    run: RunRow
    results: list[ResultRow]
    attempts: list[AttemptRow]
    items: list[ItemRow]
    work: list[WorkRow]
    children: list[ChildRow]


@dataclass(frozen=True, slots=True)
class Look:
    """Where a run stands, and what it came to."""

    pipeline: str
    status: str
    reason: str | None
    due_at: datetime | None
    waiting_for: str | None
    error: bytes | None
    output_step: str | None
