"""The pipelines of the storms: five steps, or two side by side, whose bodies write down all.

Imported by real workers (TASKPLATFORM_PIPELINES) and by the clients that enqueue. The folder of
the ledger and the address of the outside API come with each run.
"""

import hashlib
import http.client
import os
import signal
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from taskplatform import Context, Permanent, Pipeline, Retry, RetryAfter, Throttle
from taskplatform.verify.ledger import Ledger

LIMIT, PER = 150, 10.0


class Order(BaseModel):
    """What a run is to do: `plan` has seconds of work and a mishap for each step."""

    folder: str
    number: int
    api: str = ""
    group: str | None = None
    plan: dict[str, tuple[float, str]] = {}


class Part(BaseModel):
    """What a step returns: it follows from the order and the part before, and nothing else."""

    step: str
    text: str
    digest: str


@cache
def ledger(folder: str) -> Ledger:
    """This process's ledger."""
    return Ledger(folder)


def part_of(number: int, step: str, before: str) -> Part:
    """What a step returns for an order, after what came before."""
    digest = hashlib.sha256(f"{number}:{step}:{before}".encode()).hexdigest()
    return Part(step=step, text=f"{number} {step} ü ", digest=digest)


def work(
    order: Order,
    ctx: Context,
    before: str,
    also: Callable[[], Any] | None = None,
    pipeline: str = "five",
) -> Part:
    """Execute a body: start, what is limited, mishap or work, the effect, end."""
    book = ledger(order.folder)
    book.start(ctx, pipeline)
    if also is not None:
        also()
    seconds, mishap = order.plan.get(ctx.step, (0.0, ""))
    if mishap == "fail" and ctx.attempt == 1:
        raise ConnectionError("the first attempt fails")
    if mishap == "put-off" and ctx.attempt == 1:
        raise RetryAfter(0.2)
    if mishap == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if mishap == "give-up" and ctx.attempt == 1:
        raise Permanent("a person has to look")
    if seconds:
        time.sleep(seconds)
    book.effect(ctx, pipeline)
    part = part_of(order.number, ctx.step, before)
    book.end(ctx, pipeline, part.model_dump(mode="json"))
    return part


five = Pipeline(
    "five",
    input=Order,
    key=lambda order: order.group,
    retry=Retry(delays=["100ms", "1s", "1s", "5s"]),
    timeout="60s",
)


@five.step
def collect(input: Order, ctx: Context) -> Part:
    """Begin."""
    return work(input, ctx, "")


@five.step
def clean(input: Order, collect: Part, ctx: Context) -> Part:
    """Go on from the first."""
    return work(input, ctx, collect.digest)


@five.step
def score(input: Order, clean: Part, ctx: Context) -> Part:
    """Go on from the second."""
    return work(input, ctx, clean.digest)


@five.step(throttle=Throttle("outside", limit=LIMIT, per=PER))
def publish(input: Order, score: Part, ctx: Context) -> Part:
    """Call the outside API, which nobody may call more often than it allows."""
    return work(input, ctx, score.digest, lambda: call(input.api, ctx) if input.api else None)


@five.step
def notify(input: Order, publish: Part, ctx: Context) -> Part:
    """End."""
    return work(input, ctx, publish.digest)


fan = Pipeline("fan", input=Order, retry=Retry(delays=["100ms", "1s"]), timeout="60s")


@fan.step(group="wings")
def left(input: Order, ctx: Context) -> Part:
    """One of two that end at the same moment."""
    return work(input, ctx, "", pipeline="fan")


@fan.step(group="wings")
def right(input: Order, ctx: Context) -> Part:
    """The other."""
    return work(input, ctx, "", pipeline="fan")


@fan.step
def meet(input: Order, left: Part, right: Part, ctx: Context) -> Part:
    """Go on when both have ended."""
    return work(input, ctx, left.digest + right.digest, pipeline="fan")


def call(api: str, ctx: Context, limit: str = "outside") -> None:
    """Call the API, with the key that is the same on every attempt."""
    address = urlsplit(api)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        headers = {"Idempotency-Key": ctx.idempotency_key}
        connection.request("POST", f"/{limit}/{ctx.run_id}/{ctx.step}", headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise ConnectionError(f"the API answered {answer.status}")
    finally:
        connection.close()
