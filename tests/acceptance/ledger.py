"""Pipelines whose bodies write down every execution, in a file that the platform knows nothing of.

Imported by real workers (TASKPLATFORM_PIPELINES) and by the tests that enqueue.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from celery import shared_task
from pydantic import BaseModel

from taskplatform import Context, Pipeline, Retry, Throttle


class Order(BaseModel):
    """Where to write, and what the bodies are to do."""

    ledger: Path
    id: str
    seconds: float = 0.0
    do: str = ""


class Done(BaseModel):
    """What every step answers."""

    pid: int


def write(order: Order, what: str) -> None:
    """Append one line in one system call."""
    line = f"{order.id} {what} {os.getpid()} {time.monotonic_ns()}\n"
    fd = os.open(order.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def step(order: Order, name: str) -> Done:
    """Execute a body: start, what the order says, end."""
    write(order, f"start:{name}")
    once = Path(f"{order.ledger}.once")
    if order.do in (f"die:{name}", f"hang:{name}") and not once.exists():
        once.touch()
        if order.do.startswith("hang"):
            time.sleep(60)
        os.kill(os.getpid(), 9)
    if order.do == f"always-die:{name}":
        os.kill(os.getpid(), 9)
    if order.do == f"die-until-mended:{name}" and not Path(f"{order.ledger}.mended").exists():
        os.kill(os.getpid(), 9)
    if order.do == f"ignore-limit:{name}":
        _ignore_limit(order.seconds)
    elif order.do == f"sleep:{name}":
        time.sleep(order.seconds)
    write(order, f"end:{name}")
    return Done(pid=os.getpid())


def _ignore_limit(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(Exception):
            time.sleep(0.05)


three = Pipeline("three", input=Order, retry=Retry(delays=["1h"]), timeout="60s")


@three.step
def first(input: Order) -> Done:
    """Write down the first."""
    return step(input, "first")


@three.step
def second(input: Order, first: Done) -> Done:
    """Write down the second."""
    return step(input, "second")


@three.step
def third(input: Order, second: Done, ctx: Context) -> Done:
    """Write down the third."""
    return step(input, "third")


single = Pipeline("single", input=Order, key="id", idempotency="24h")


@single.step
def only(input: Order) -> Done:
    """Sleep as long as the order says."""
    write(input, "start:only")
    time.sleep(input.seconds)
    write(input, "end:only")
    return Done(pid=os.getpid())


limited = Pipeline("limited", input=Order, retry=Retry(0), timeout="1s")


@limited.step
def bounded(input: Order) -> Done:
    """Take longer than it may."""
    return step(input, "bounded")


slowed = Pipeline("slowed", input=Order)


@slowed.step(throttle=Throttle("api", limit=5, per="2s"))
def call(input: Order) -> Done:
    """Call an interface that allows five calls in any two seconds."""
    return step(input, "call")


elsewhere = Pipeline("elsewhere", input=Order)


@elsewhere.step
def here(input: Order) -> Done:
    """On the default queue."""
    return step(input, "here")


@elsewhere.step(queue="other")
def there(input: Order, here: Done) -> Done:
    """On a queue of its own."""
    return step(input, "there")


class Nap(BaseModel):
    """How long each of two steps is to take."""

    seconds: float = 0.0


napping = Pipeline("napping", input=Nap)


@napping.step
def nap(input: Nap) -> None:
    """Take a moment, and write nothing down."""
    time.sleep(input.seconds)


@napping.step
def again(input: Nap, nap: None) -> None:
    """Take another."""
    time.sleep(input.seconds)


@shared_task(name="tests.plain")  # type: ignore[untyped-decorator]
def plain(ledger: str, id: str = "plain") -> None:
    """An ordinary Celery task of the user's own."""
    write(Order(ledger=Path(ledger), id=id), "start:plain")
