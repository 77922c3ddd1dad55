"""The pipeline that `taskplatform demo` shows a failure and a crash with.

Its bodies write every execution into a file, so that what was executed how often is counted
outside the platform.
"""

import os
import time
import urllib.request
from pathlib import Path

from pydantic import BaseModel

from taskplatform import Context, Pipeline, Retry


class Tour(BaseModel):
    """Where to write, which interface to call, how long the third step takes."""

    task_id: str
    ledger: Path
    api_url: str | None = None
    seconds: float = 0.0


class Done(BaseModel):
    """What each step answers."""

    step: str
    process: int


class Answer(Done):
    """What the interface answered."""

    status: int


class Summary(BaseModel):
    """All that the steps answered."""

    steps: list[str]


# The demo's policy waits 5 min before its first retry; this one can be watched.
tour = Pipeline("tour", input=Tour, key="task_id", retry=Retry(delays=["2s", "2s", "2s"]))


@tour.step
def initialize(input: Tour, ctx: Context) -> Done:
    """Begin."""
    return _done(input, ctx)


@tour.step
def process(input: Tour, initialize: Done, ctx: Context) -> Done:
    """Work a little."""
    time.sleep(0.1)
    return _done(input, ctx)


@tour.step
def simulate_delay(input: Tour, process: Done, ctx: Context) -> Done:
    """Take as long as the input says, the first time."""
    if ctx.attempt == 1:
        _write(input, ctx, "began")
        time.sleep(input.seconds)
    return _done(input, ctx)


@tour.step
def call_api(input: Tour, simulate_delay: Done, ctx: Context) -> Answer:
    """Call an interface that may be down."""
    done = _done(input, ctx)
    if input.api_url is None:
        return Answer(**done.model_dump(), status=200)
    with urllib.request.urlopen(input.api_url, timeout=10) as answer:
        return Answer(**done.model_dump(), status=answer.status)


@tour.step
def finalize(
    input: Tour,
    initialize: Done,
    process: Done,
    simulate_delay: Done,
    call_api: Answer,
    ctx: Context,
) -> Summary:
    """Collect all that came."""
    done = _done(input, ctx)
    return Summary(
        steps=[initialize.step, process.step, simulate_delay.step, call_api.step, done.step]
    )


def _done(input: Tour, ctx: Context) -> Done:
    _write(input, ctx, "executed")
    return Done(step=ctx.step, process=os.getpid())


def _write(input: Tour, ctx: Context, what: str) -> None:
    line = f"{input.task_id} {ctx.step} {what} {os.getpid()}\n"
    fd = os.open(input.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)
