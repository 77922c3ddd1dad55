"""Pipelines of bodies that wait for something outside, many at once."""

import asyncio
import os
import time
from pathlib import Path
from time import monotonic_ns

from pydantic import BaseModel

from taskplatform import Context, Pipeline, Retry


class Call(BaseModel):
    """What a body writes down, and how long it takes."""

    ledger: Path
    id: str
    seconds: float = 0.1

    def note(self, what: str) -> None:
        """Append a line: run, what, pid, nanoseconds."""
        line = f"{self.id} {what} {os.getpid()} {monotonic_ns()}\n"
        fd = os.open(self.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(fd, line.encode())
        os.close(fd)


blocking = Pipeline("blocking", input=Call, retry=Retry(0), timeout="60s")


@blocking.step
def call(input: Call) -> str:
    """Wait in a thread."""
    input.note("start")
    time.sleep(input.seconds)
    input.note("end")
    return input.id


on_the_loop = Pipeline("on-the-loop", input=Call, retry=Retry(0), timeout="60s")


@on_the_loop.step
async def call_async(input: Call) -> str:
    """Wait on the loop."""
    input.note("start")
    await asyncio.sleep(input.seconds)
    input.note("end")
    return input.id


mixed = Pipeline("mixed", input=Call, retry=Retry(0), timeout="60s")


@mixed.step
async def fetch(input: Call) -> int:
    """First on the loop."""
    input.note("start:fetch")
    await asyncio.sleep(input.seconds)
    input.note("end:fetch")
    return 1


@mixed.step
def store(input: Call, fetch: int) -> int:
    """Then in a thread."""
    input.note("start:store")
    time.sleep(input.seconds)
    input.note("end:store")
    return fetch + 1


@mixed.step
async def tell(input: Call, store: int, ctx: Context) -> int:
    """And on the loop again."""
    input.note("start:tell")
    ctx.heartbeat()
    await asyncio.sleep(input.seconds)
    input.note("end:tell")
    return store + 1
