"""About: the worker that is supervised."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class About:
    """The worker that is supervised."""

    parent: int
    id: UUID
    name: str
    pool: str
    concurrency: int
    queues: list[str]
    pipelines: list[str]
