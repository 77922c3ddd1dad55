"""What is executed: every contender offers the same jobs, under these names."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Job:
    """A job, and how many steps of it leave a mark."""

    name: str
    steps: int = 1


FIVE = Job("five", 5)  # five steps without work in them, each handing on what it was given
ONE = Job("one")  # one step without work in it
SLEEP = Job("sleep")  # one step that blocks for SLEEP_SECONDS
ASLEEP = Job("asleep")  # one `async def` step that awaits as long
SECOND = Job("second")  # one `async def` step that awaits a second

SLEEP_SECONDS = 0.1


class Shape(StrEnum):
    """How a contender's worker is started."""

    RATE = "rate"  # two processes
    DEFAULT = "default"  # as it comes
    THREADS = "threads"  # one process, 100 blocking jobs at a time
    ASYNC = "async"  # one process, 100 async jobs at a time
    THOUSAND = "thousand"  # one process, 1,000 async jobs at a time
