"""A load of runs with retries, a transactional step, a fork and an event, and its ledger."""

from collections import Counter

from pydantic import BaseModel

from taskplatform.client.pipeline import Pipeline
from taskplatform.core.context import Context
from taskplatform.core.retry import Retry

LEDGER = "CREATE TABLE public.paid (run uuid, attempt integer)"


class Order(BaseModel):
    """What a run is about; `bad` ones fail once, for good if they are very bad."""

    number: str
    key: str | None = None
    bad: int = 0


executed: Counter[tuple[str, str]] = Counter()


def declare() -> Pipeline[Order]:
    """Declare it; the registry has to be empty."""
    executed.clear()
    load = Pipeline("load", input=Order, key="key", retry=Retry(delays=["1m"]))

    def note(ctx: Context) -> str:
        executed[(str(ctx.run_id), ctx.step)] += 1
        return ctx.step

    @load.step
    def check(input: Order, ctx: Context) -> str:
        note(ctx)
        if ctx.attempt <= input.bad:
            raise ValueError(input.number)
        return ctx.step

    @load.step(transactional=True)
    def pay(ctx: Context) -> str:
        ctx.connection.execute("INSERT INTO public.paid VALUES (%s, %s)", (ctx.run_id, ctx.attempt))
        return note(ctx)

    @load.step(group="both")
    def pack(ctx: Context) -> str:
        return note(ctx)

    @load.step(group="both")
    def label(ctx: Context) -> str:
        return note(ctx)

    load.wait("shipped", event="shipped", match="number")

    @load.step
    def close(pack: str, ctx: Context) -> str:
        return note(ctx)

    load.finalize()
    return load
