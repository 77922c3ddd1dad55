"""Pipelines of every shape, whose bodies end as a test says."""

from collections.abc import Iterator
from itertools import cycle

from pydantic import BaseModel

from taskplatform.client.pipeline import Pipeline
from taskplatform.core.context import Context
from taskplatform.core.retry import Retry
from taskplatform.errors import Permanent

HOUR = 3600.0
RETRY = Retry(delays=["1h"])


class Asked(BaseModel):
    """The input of all of them."""

    id: str = "x"
    items: list[int] = []


class Approval(BaseModel):
    """What the nested pipeline waits for."""

    id: str
    ok: bool


class Fates:
    """How the next bodies end, and which were executed since anybody asked."""

    def __init__(self) -> None:
        self.next: Iterator[str] = cycle(["ok"])

    def body(self, ctx: Context) -> str:
        """End as it was said; the answer is the step's name."""
        match next(self.next):
            case "fail":
                raise ValueError(ctx.step)
            case "permanent":
                raise Permanent(ctx.step)
        return ctx.step


fates = Fates()


def undo(ctx: Context) -> None:
    """Undo a step; what it is called says which."""
    fates.body(ctx)


def declare() -> list[Pipeline[Asked]]:
    """Declare them; the registry has to be empty."""
    flat = Pipeline("flat", input=Asked, retry=RETRY)

    @flat.step(compensate=undo)
    def first(ctx: Context) -> str:
        return fates.body(ctx)

    @flat.step(group="both", compensate=undo)
    def left(ctx: Context) -> str:
        return fates.body(ctx)

    @flat.step(group="both", compensate=undo)
    def right(ctx: Context) -> str:
        return fates.body(ctx)

    @flat.step
    def last(ctx: Context, left: str, right: str) -> str:
        return fates.body(ctx)

    return [flat, _strict(), _nested(flat), _resting(), _parent(flat)]


def _strict() -> Pipeline[Asked]:
    strict = Pipeline("strict", input=Asked, retry=RETRY, run_timeout="9h")

    @strict.step(compensate=undo)
    def begin(ctx: Context) -> str:
        return fates.body(ctx)

    @strict.map(over="items", max_parallel=2, compensate=undo)
    def visit(item: int, ctx: Context) -> str:
        return f"{fates.body(ctx)}:{item}"

    @strict.map(over="visit", on_item_error="collect", retry=Retry(0))
    def again(item: str, ctx: Context) -> str:
        return fates.body(ctx)

    return strict


def _nested(flat: Pipeline[Asked]) -> Pipeline[Asked]:
    nested = Pipeline("nested", input=Asked, retry=RETRY)

    @nested.step(group="all", compensate=undo)
    def plain(ctx: Context) -> str:
        return fates.body(ctx)

    @nested.map(over="items", max_parallel=2, group="all")
    def each(item: int, ctx: Context) -> str:
        return fates.body(ctx)

    nested.wait("approval", event="approved", match="id", timeout="3h", model=Approval, group="all")
    nested.sleep("nap", "1h", group="all")
    nested.child("kid", flat, input=same, group="all")

    @nested.step
    def close(ctx: Context, each: list[str]) -> str:
        return fates.body(ctx)

    return nested


def _resting() -> Pipeline[Asked]:
    resting = Pipeline("resting", input=Asked, retry=RETRY)

    @resting.step(compensate=undo)
    def open(ctx: Context) -> str:
        return fates.body(ctx)

    resting.sleep("night", "1h")
    resting.wait("one", event="noted")
    resting.wait("two", event="noted", timeout="3h", on_timeout="fail")
    return resting


def _parent(flat: Pipeline[Asked]) -> Pipeline[Asked]:
    middle = Pipeline("middle", input=Asked, retry=RETRY)
    middle.child("inner", flat, input=same, retry=RETRY)
    parent = Pipeline("parent", input=Asked, retry=RETRY)

    @parent.step(compensate=undo)
    def prepare(ctx: Context) -> str:
        return fates.body(ctx)

    parent.child("outer", middle, input=same, group="kids")
    parent.child("other", flat, input=same, group="kids", retry=RETRY)
    return parent


def same(input: Asked) -> Asked:
    """The input of a child is that of its parent."""
    return input


def forked() -> Pipeline[Asked]:
    """Two branches, and a step behind them on a queue of its own."""
    p = Pipeline("p", input=Asked)

    @p.step(group="both")
    def left(ctx: Context) -> str:
        return fates.body(ctx)

    @p.step(group="both")
    def right(ctx: Context) -> str:
        return fates.body(ctx)

    @p.step(queue="other")
    def end(ctx: Context) -> str:
        return fates.body(ctx)

    return p


def family(**options: object) -> Pipeline[Asked]:
    """A parent that waits for a child of one step."""
    kid = Pipeline("kid", input=Asked)

    @kid.step
    def work(ctx: Context) -> str:
        return fates.body(ctx)

    kid.finalize()
    p = Pipeline("p", input=Asked)
    p.child("kid", kid, input=same, **options)  # type: ignore[arg-type]
    return p
