"""Lessons: what a body was told about a limit, for whoever executes it to pass on."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lesson:
    """Nobody should call under that limit for so many seconds.

    `scope` None: that of the attempt in which it was learnt.
    """

    name: str
    scope: str | None
    seconds: float
    why: str


# None: nobody collects them here.
LESSONS: ContextVar[list[Lesson] | None] = ContextVar("taskplatform_lessons", default=None)
# Where no server is asked, every grant is given.
GRANTS_ALL: ContextVar[bool] = ContextVar("taskplatform_grants_all", default=False)
