"""The pipelines of the storms under limits; each body tells which limits it is executed under."""

import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel

from taskplatform import Batch, Concurrency, Context, Debounce, Pipeline, Retry, Throttle
from taskplatform.verify.ledger import Ledger
from tests.chaos.five import Part, call, ledger, part_of

NARROW = Throttle("narrow", limit=12, per="3s")
RETRY = Retry(delays=["100ms", "1s", "1s", "5s"])


class Wish(BaseModel):
    """What a run is to do; each of its bodies works for `seconds`."""

    folder: str
    number: int
    api: str
    group: str
    seconds: float = 0.0


def made(wish: Wish, step: str) -> Part:
    """What a step makes of a wish: it follows from that alone, so its caller knows it, too."""
    return part_of(wish.number, step, wish.group)


def work(wish: Wish, ctx: Context, pipeline: str, under: Mapping[str, int]) -> Part:
    """Execute a body under these limits, by gate."""
    book = ledger(wish.folder)
    book.start(ctx, pipeline, under)
    if "narrow" in under:
        call(wish.api, ctx, "narrow")
    time.sleep(wish.seconds)
    book.effect(ctx, pipeline)
    part = made(wish, ctx.step)
    book.end(ctx, pipeline, part.model_dump(mode="json"))
    return part


scarce = Pipeline("scarce", input=Wish, retry=RETRY, timeout="60s")


@scarce.step(throttle=NARROW, concurrency=Concurrency(2, key="group"))
def ask(input: Wish, ctx: Context) -> Part:
    """Call the API, which nobody may call more often than it allows, two of a group at a time."""
    return work(input, ctx, "scarce", {"narrow": 12, f"ask[{input.group}]": 2})


@scarce.step(concurrency=Concurrency("press", 1))
def press(input: Wish, ask: Part, ctx: Context) -> Part:
    """Have what there is only one of."""
    return work(input, ctx, "scarce", {"press": 1})


lone = Pipeline(
    "lone",
    input=Wish,
    key="group",
    concurrency=Concurrency("loners", 2),
    retry=RETRY,
    timeout="60s",
)


@lone.step
def begin(input: Wish, ctx: Context) -> Part:
    """Be one of two runs that have begun."""
    return work(input, ctx, "lone", {"loners": 2})


@lone.step
def finish(input: Wish, begin: Part, ctx: Context) -> Part:
    """Still be one of two."""
    return work(input, ctx, "lone", {"loners": 2})


burst = Pipeline("burst", input=Wish, debounce=Debounce("400ms", key="group", max_wait="2s"))


@burst.step
def once(input: Wish, ctx: Context) -> Part:
    """Be executed on the last of several wishes."""
    return work(input, ctx, "burst", {})


pack = Pipeline(
    "pack", input=Wish, retry=RETRY, timeout="60s", batch=Batch(size=5, timeout="1s", key="group")
)


@pack.step
def fill(input: list[Wish], ctx: Context) -> list[Part]:
    """Be executed for several runs at once; their epochs are known to nobody here."""
    book = ledger(input[0].folder)
    others = _others(ctx)
    book.start(ctx, "pack")
    for one in others:
        book.start(one, "pack")
    time.sleep(max(one.seconds for one in input))
    parts = [made(one, ctx.step) for one in input]
    for one, part in zip((ctx, *others), parts, strict=True):
        _end(book, one, part)
    return parts


@pack.step
def ship(input: Wish, fill: Part, ctx: Context) -> Part:
    """Go on by itself."""
    return work(input, ctx, "pack", {})


def _others(ctx: Context) -> Sequence[Any]:
    return [
        SimpleNamespace(
            run_id=run, step=ctx.step, attempt=ctx.attempt, epoch=0, idempotency_key=key
        )
        for run, key in zip(ctx.run_ids[1:], ctx.idempotency_keys[1:], strict=True)
    ]


def _end(book: Ledger, one: Any, part: Part) -> None:
    book.effect(one, "pack")
    book.end(one, "pack", part.model_dump(mode="json"))
