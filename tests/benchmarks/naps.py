"""A backlog, and what is urgent before it."""

from time import sleep

from pydantic import BaseModel

from taskplatform import Pipeline


class Nap(BaseModel):
    """How long a body takes."""

    seconds: float = 0.02


backlog = Pipeline("backlog", input=Nap, timeout="1m")
urgent = Pipeline("urgent", input=Nap, timeout="1m")


@backlog.step
def doze(input: Nap) -> None:
    """Take some time."""
    sleep(input.seconds)


@urgent.step
def hurry() -> None:
    """Be done at once."""
