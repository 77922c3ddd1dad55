"""Pipelines whose bodies are async, report, keep silent, or wait to be told to end."""

import asyncio
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from celery import current_task
from celery.utils.log import get_task_logger
from pydantic import BaseModel

from taskplatform import Context, Pipeline, Retry


class Where(BaseModel):
    """A file that the bodies write to, and read."""

    path: Path

    def tell(self, what: str) -> None:
        """Append a line."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(fd, f"{what}\n".encode())
        os.close(fd)

    def told(self, what: str) -> bool:
        """Whether a line is there."""
        return self.path.exists() and what in self.path.read_text().splitlines()


class Client:
    """Bound to the loop that it was made on, as an HTTP client or a connection pool is."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def get(self) -> str:
        """Answer, on the same loop only."""
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0)
        return f"{os.getpid()}:{id(self.loop)}"


_clients: list[Client] = []

waiting = Pipeline("waiting", input=Where, retry=Retry(0), timeout="60s")


@waiting.step
async def fetch(input: Where) -> str:
    """Make the client, once a process."""
    if not _clients:
        _clients.append(Client())
    return await _clients[0].get()


@waiting.step
async def fetch_again(fetch: str) -> str:
    """Use it again."""
    return await _clients[0].get()


@waiting.step
async def name(fetch_again: str) -> list[str]:
    """What Celery says which task this is, before and after waiting."""
    before = current_task.name
    await asyncio.sleep(0.01)
    return [before, current_task.name, current_task.request.id]


talking = Pipeline("talking", input=Where, retry=Retry(0), timeout="60s")


@talking.step
def log(input: Where, ctx: Context) -> None:
    """Log in three ways."""
    ctx.logger.debug("through ctx")
    logging.getLogger("shop.prices").debug("through a logger of one's own")
    get_task_logger("shop.tasks").debug("through Celery's")


@talking.step
async def log_async(input: Where, ctx: Context) -> None:
    """Log on the loop."""
    await asyncio.sleep(0)
    ctx.logger.debug("from the loop")


reporting = Pipeline("reporting", input=Where, retry=Retry(0), timeout="60s")


@reporting.step
def count(input: Where, ctx: Context) -> int:
    """Report and wait to be told to go on."""
    ctx.progress(3, 10)
    while not input.told("go on"):
        time.sleep(0.01)
    return 10


@reporting.step
async def count_async(input: Where, ctx: Context) -> int:
    """The same, async."""
    ctx.progress(4, 20)
    while not input.told("go on async"):
        await asyncio.sleep(0.01)
    return 20


stopping = Pipeline("stopping", input=Where, retry=Retry(0), timeout="60s")


@stopping.step
def until_cancelled(input: Where, ctx: Context) -> None:
    """Ask whether anybody wants the result."""
    input.tell("started")
    while not ctx.cancelled:
        time.sleep(0.005)
    input.tell("cancelled")


stopping_async = Pipeline("stopping-async", input=Where, retry=Retry(0), timeout="60s")


@stopping_async.step
async def until_thrown(input: Where) -> None:
    """Ask nothing: it is cancelled."""
    input.tell("started")
    try:
        await asyncio.sleep(60)
    finally:
        input.tell("cancelled")


unserved = Pipeline("unserved", input=Where, queue="nobody", queue_timeout="1s")


@unserved.step
def never(input: Where) -> None:
    """On a queue that no worker serves."""
    input.tell("started")


paying = Pipeline("paying", input=Where, retry=Retry(delays=["1s"]), timeout="60s")


@paying.step(transactional=True)
def pay(input: Where, ctx: Context) -> int:
    """Write into a table of the user's own, and take a moment."""
    input.tell(f"pid {os.getpid()}")
    ctx.connection.execute("INSERT INTO payments VALUES (%s)", (str(ctx.run_id),))
    input.tell("paid")
    while not input.told("go on"):
        time.sleep(0.005)
    return 1


@paying.step
def thank(pay: int) -> int:
    """Go on from what was committed."""
    return pay + 1


silent = Pipeline("silent", input=Where, retry=Retry(0), timeout="60s")


@silent.step(heartbeat="1s")
def says_nothing(input: Where, ctx: Context) -> None:
    """Report for longer than it may be silent, and then no more."""
    for _ in range(6):
        ctx.heartbeat()
        time.sleep(0.25)
    input.tell("silent from here")
    time.sleep(60)


deaf = Pipeline("deaf", input=Where, retry=Retry(0), timeout="60s")


@deaf.step(heartbeat="500ms")
def ignores(input: Where) -> None:
    """Say nothing and hear nothing."""
    while True:
        with suppress(Exception):
            time.sleep(60)
