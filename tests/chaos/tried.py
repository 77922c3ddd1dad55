"""Pipelines to try: one whose steps may be executed twice, and three that may not."""

import os
import socket
import time
from pathlib import Path

from pydantic import BaseModel

from taskplatform import Context, Pipeline


class Order(BaseModel):
    """Where to write."""

    folder: str
    items: list[int] = [1, 2]


sound = Pipeline("sound", input=Order)


@sound.step
def count(input: Order, ctx: Context) -> int:
    """Return the same for the same input; what it writes, it writes under the key."""
    Path(input.folder, ctx.idempotency_key).write_text("once")
    return len(input.items)


@sound.map(over="items")
def each(item: int) -> int:
    """Execute for each item."""
    return item + 1


@sound.step
async def add(each: list[int], count: int) -> int:
    """Add up, on the event loop."""
    return sum(each) + count


faulty = Pipeline("faulty", input=Order)


@faulty.step
def stamp(input: Order) -> float:
    """Return something else each time."""
    return time.time()


@faulty.step
def claim(input: Order, ctx: Context) -> str:
    """Fail if it was executed before."""
    path = f"{input.folder}/{ctx.run_id}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    return path


@faulty.step
def tell(claim: str) -> str:
    """Have an effect that nobody could recognise as the same."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", 9))
    return claim
