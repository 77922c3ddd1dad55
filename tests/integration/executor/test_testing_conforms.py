"""What `testing.run` does with a pipeline is what the executor does with it on real Postgres."""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import from_json, to_jsonable_python

from taskplatform import Context, ItemError, Permanent, Pipeline, Retry, RetryAfter, testing
from taskplatform.client.events import send_event
from taskplatform.client.run import Run
from taskplatform.core import registry
from taskplatform.storage.connection import Session, close_pools, connect
from taskplatform.testing.servers import forget
from taskplatform.testing.worker import TestWorker

Events = Sequence[tuple[str, dict[str, Any]]]
Make = Callable[[], Pipeline[Any]]

MOST_WAITS = 20
# What the executor itself may take, in seconds.
SPENT = 20.0
# What fails is the last of its kind: of those beside it that are open, a child may hold some that
# are still executed, and which ones is a matter of time.
LAST = 2

_ATTEMPTS = """
SELECT step_name, number, outcome FROM taskplatform.step_attempts WHERE run_id = %(run)s
UNION ALL
SELECT step_name, attempt, 'succeeded' FROM taskplatform.step_results WHERE run_id = %(run)s
UNION ALL
SELECT step_name || '[' || position || ']', attempt, 'succeeded' FROM taskplatform.items
WHERE run_id = %(run)s AND output IS NOT NULL AND NOT failed
ORDER BY 1, 2
"""
_NEXT_DUE = """
SELECT extract(epoch FROM due_at - clock_timestamp())::double precision
FROM taskplatform.work WHERE due_at < 'infinity' ORDER BY due_at LIMIT 1
"""
_OUTPUTS = "SELECT step_name, output FROM taskplatform.step_results WHERE run_id = %s"


class Order(BaseModel):
    """The input of them all."""

    number: int = 7
    parts: list[str] = ["a", "b", "c"]


class Approval(BaseModel):
    """The data of an event."""

    number: int
    by: str


@dataclass(frozen=True)
class Case:
    """A pipeline, and what is sent to it."""

    make: Make
    events: Events = ()


@dataclass
class Came:
    """What is the same on both sides."""

    status: str
    reason: str | None
    output: Any
    error: tuple[str, str | None] | None
    outcomes: dict[str, list[str]]


def plain() -> Pipeline[Order]:
    pipeline = Pipeline("plain", input=Order)

    @pipeline.step
    def a(input: Order) -> int:
        return input.number

    @pipeline.step
    async def b(a: int) -> str:
        return f"{a}"

    return pipeline


def retried() -> Pipeline[Order]:
    pipeline = Pipeline("retried", input=Order, retry=Retry(delays=["1m", "1h"]))

    @pipeline.step
    def a(input: Order, ctx: Context) -> int:
        if ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")
        return ctx.attempt

    return pipeline


def exhausted() -> Pipeline[Order]:
    pipeline = Pipeline("exhausted", input=Order, retry=Retry(1))

    @pipeline.step
    def a(input: Order, ctx: Context) -> int:
        raise ValueError("always")

    return pipeline


def permanent() -> Pipeline[Order]:
    pipeline = Pipeline("permanent", input=Order)

    @pipeline.step
    def a(input: Order) -> int:
        return 1

    @pipeline.step
    def b(a: int) -> int:
        raise Permanent("no")

    return pipeline


def put_off() -> Pipeline[Order]:
    pipeline = Pipeline("put-off", input=Order, retry=Retry(0))

    @pipeline.step
    def a(input: Order, ctx: Context) -> int:
        if ctx.attempt == 1:
            raise RetryAfter(30)
        return ctx.attempt

    return pipeline


def invalid() -> Pipeline[Order]:
    pipeline = Pipeline("invalid", input=Order, retry=Retry(1))

    @pipeline.step
    def a(input: Order, ctx: Context) -> list[float]:
        return [float("nan")] if ctx.attempt == 1 else [1.5]

    return pipeline


def unreadable() -> Pipeline[Order]:
    pipeline = Pipeline("unreadable", input=Order)

    @pipeline.step
    def a(input: Order) -> str:
        return "x"

    @pipeline.step
    def b(a: int) -> int:
        return a

    return pipeline


def group() -> Pipeline[Order]:
    pipeline = Pipeline("group", input=Order, retry=Retry(delays=["1m"]))

    @pipeline.step(group="both")
    def left(input: Order, ctx: Context) -> int:
        if ctx.attempt == 1:
            raise ValueError
        return input.number

    @pipeline.step(group="both")
    def right(input: Order) -> str:
        return "right"

    return pipeline


def group_failed() -> Pipeline[Order]:
    pipeline = Pipeline("group-failed", input=Order, retry=Retry(0))

    @pipeline.step(group="both")
    def left(input: Order) -> int:
        return 1

    @pipeline.step(group="both")
    def right(input: Order) -> str:
        raise Permanent("right")

    @pipeline.step
    def after(left: int, right: str) -> str:
        return right

    return pipeline


def mapped() -> Pipeline[Order]:
    pipeline = Pipeline("mapped", input=Order, retry=Retry(delays=["1m"]))

    @pipeline.map(over="parts", max_parallel=2)
    def part(item: str, index: int, ctx: Context) -> str:
        if index == 1 and ctx.attempt == 1:
            raise ValueError
        return f"{item}{index} {ctx.step}"

    @pipeline.map(over="part")
    def again(item: str) -> int:
        return len(item)

    @pipeline.step
    def total(again: list[int], part: list[str]) -> dict[str, Any]:
        return {"total": sum(again), "part": part}

    return pipeline


def map_of_nothing() -> Pipeline[Order]:
    pipeline = Pipeline("map-of-nothing", input=Order)

    @pipeline.step
    def none(input: Order) -> list[int]:
        return []

    @pipeline.map(over="none")
    def each(item: int) -> int:
        return item

    return pipeline


def map_failed() -> Pipeline[Order]:
    pipeline = Pipeline("map-failed", input=Order, retry=Retry(0))

    @pipeline.map(over="parts")
    def part(item: str, index: int) -> str:
        if index == LAST:
            raise ValueError(item)
        return item

    return pipeline


def map_collected() -> Pipeline[Order]:
    pipeline = Pipeline("map-collected", input=Order, retry=Retry(delays=["1m"]))

    @pipeline.map(over="parts", on_item_error="collect")
    def part(item: str, index: int) -> str:
        if index == 1:
            raise ValueError(item)
        return item

    @pipeline.step
    def good(part: list[str | ItemError]) -> list[str | ItemError]:
        return part

    return pipeline


def slept() -> Pipeline[Order]:
    pipeline = Pipeline("slept", input=Order)

    @pipeline.step
    def a(input: Order) -> int:
        return 1

    pipeline.sleep("cool-down", "30d")

    @pipeline.step
    def b(a: int) -> int:
        return a + 1

    return pipeline


def waited() -> Pipeline[Order]:
    pipeline = Pipeline("waited", input=Order)
    pipeline.wait("approval", event="order.approved", match="number", model=Approval)

    @pipeline.step
    def a(approval: Approval) -> str:
        return approval.by

    return pipeline


def wait_timed_out() -> Pipeline[Order]:
    pipeline = Pipeline("wait-timed-out", input=Order)
    pipeline.wait("approval", event="order.approved", match="number", model=Approval, timeout="3d")

    @pipeline.step
    def a(approval: Approval | None) -> str:
        return "nobody" if approval is None else approval.by

    return pipeline


def wait_failed() -> Pipeline[Order]:
    pipeline = Pipeline("wait-failed", input=Order)
    pipeline.wait("approval", event="order.approved", timeout="3d", on_timeout="fail")

    @pipeline.step
    def a(approval: dict[str, Any]) -> str:
        return "approved"

    return pipeline


def with_child(fails: bool) -> Make:
    def make() -> Pipeline[Order]:
        name = "failing" if fails else "child"
        inner = Pipeline(name, input=Approval, retry=Retry(0))

        @inner.step
        def greet(input: Approval) -> str:
            if fails:
                raise Permanent("rude")
            return f"hello {input.by}"

        pipeline = Pipeline(f"with-{name}", input=Order)

        def of_order(input: Order) -> Approval:
            return Approval(number=input.number, by="me")

        pipeline.child("greeted", inner, input=of_order)

        @pipeline.step
        def a(greeted: str) -> str:
            return greeted.upper()

        return pipeline

    return make


def compensated() -> Pipeline[Order]:
    pipeline = Pipeline("compensated", input=Order, retry=Retry(delays=["1m"]))

    def undo_a(a: int, ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("not yet")

    def undo_b(a: int, b: int) -> None:
        return None

    @pipeline.step(compensate=undo_a)
    def a(input: Order) -> int:
        return 1

    @pipeline.step(compensate=undo_b)
    def b(a: int) -> int:
        return 2

    @pipeline.step
    def c(b: int) -> int:
        raise Permanent("c")

    return pipeline


def uncompensated() -> Pipeline[Order]:
    pipeline = Pipeline("uncompensated", input=Order, retry=Retry(0))

    def undo(a: int) -> None:
        raise ValueError("never")

    @pipeline.step(compensate=undo)
    def a(input: Order) -> int:
        return 1

    @pipeline.step
    def b(a: int) -> int:
        raise Permanent("b")

    return pipeline


def out_of_time() -> Pipeline[Order]:
    pipeline = Pipeline(
        "out-of-time", input=Order, run_timeout="2h", retry=Retry(delays=["1h", "5h"])
    )

    @pipeline.step
    def a(input: Order) -> int:
        raise ValueError

    return pipeline


def group_of_shapes() -> Pipeline[Order]:
    inner = Pipeline("inner", input=Approval)

    @inner.step(group="pair")
    def one(input: Approval) -> int:
        return 1

    @inner.step(group="pair")
    def two(input: Approval) -> int:
        return 2

    pipeline = Pipeline("group-of-shapes", input=Order, retry=Retry(delays=["1m"]))

    def of_order(input: Order) -> Approval:
        return Approval(number=input.number, by="me")

    @pipeline.map(over="parts", group="all")
    def part(item: str, index: int, ctx: Context) -> str:
        if index == ctx.attempt:
            raise ValueError
        return item

    pipeline.sleep("nap", "1h", group="all")
    pipeline.wait("approval", event="order.approved", match="number", group="all")
    pipeline.wait("never", event="order.rejected", timeout="2h", group="all")
    pipeline.child("pair", inner, input=of_order, group="all")

    @pipeline.step
    def after(
        part: list[str], approval: dict[str, Any], never: dict[str, Any] | None, pair: Any
    ) -> list[Any]:
        return [part, approval, never, pair]

    return pipeline


def child_again() -> Pipeline[Order]:
    inner = Pipeline("inner", input=Order, retry=Retry(0))

    @inner.step
    def odd(input: Order) -> int:
        if input.number % 2 == 0:
            raise ValueError("even")
        return input.number

    pipeline = Pipeline("child-again", input=Order)

    def of_attempt(input: Order, ctx: Context) -> Order:
        return Order(number=ctx.attempt + 1)

    pipeline.child("three", inner, input=of_attempt, retry=Retry(delays=["1h"]))
    return pipeline


def undone_by_an_item() -> Pipeline[Order]:
    pipeline = Pipeline("undone-by-an-item", input=Order, retry=Retry(0))

    def undo(listed: list[int]) -> None:
        return None

    @pipeline.map(over="parts", compensate=undo)
    def listed(item: str, index: int) -> int:
        return index

    @pipeline.map(over="listed")
    def again(item: int) -> int:
        if item == LAST:
            raise ValueError
        return item

    return pipeline


def item_unreadable() -> Pipeline[Order]:
    pipeline = Pipeline("item-unreadable", input=Order)

    @pipeline.step
    def loose(input: Order) -> Any:
        return ["x"]

    @pipeline.map(over="loose")
    def each(item: int) -> int:
        return item

    return pipeline


def no_list() -> Pipeline[Order]:
    pipeline = Pipeline("no-list", input=Order)

    @pipeline.step
    def loose(input: Order) -> Any:
        return 3

    @pipeline.map(over="loose")
    def each(item: Any) -> Any:
        return item

    return pipeline


def transactional() -> Pipeline[Order]:
    pipeline = Pipeline("transactional", input=Order, retry=Retry(delays=["1m"]))

    @pipeline.step(transactional=True)
    def write(input: Order, ctx: Context) -> list[bool]:
        name = f"written_{ctx.run_id.hex}"
        seen = [_exists(ctx, name)]
        ctx.connection.execute(f"CREATE TABLE {name} ()")
        if ctx.attempt == 1:
            raise ValueError("after it was written")
        return [*seen, _exists(ctx, name)]

    @pipeline.step(transactional=True)
    def read(write: list[bool], ctx: Context) -> list[bool]:
        return [*write, _exists(ctx, f"written_{ctx.run_id.hex}")]

    return pipeline


def _exists(ctx: Context, table: str) -> bool:
    found = ctx.connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return bool(found[0])


def two_waits() -> Pipeline[Order]:
    pipeline = Pipeline("two-waits", input=Order)

    def own(input: Order) -> tuple[str, object]:
        return "number", input.number + 1

    pipeline.wait("first", event="order.approved", match=own)
    pipeline.wait("second", event="order.approved")

    @pipeline.step
    def both(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
        return [first["by"], second["by"]]

    return pipeline


APPROVED: Events = [
    ("order.approved", {"number": 8, "by": "other"}),
    ("order.approved", {"number": 7, "by": "ann"}),
]
CASES = {
    "plain": Case(plain),
    "retry": Case(retried),
    "no retry left": Case(exhausted),
    "permanent": Case(permanent),
    "RetryAfter": Case(put_off),
    "invalid output": Case(invalid),
    "unreadable output": Case(unreadable),
    "group": Case(group),
    "group failed": Case(group_failed),
    "map": Case(mapped),
    "map of nothing": Case(map_of_nothing),
    "map failed": Case(map_failed),
    "map collected": Case(map_collected),
    "sleep": Case(slept),
    "wait": Case(waited, APPROVED),
    "wait timed out": Case(wait_timed_out, APPROVED[:1]),
    "wait failed": Case(wait_failed),
    "child": Case(with_child(fails=False)),
    "child failed": Case(with_child(fails=True)),
    "compensation": Case(compensated),
    "compensation failed": Case(uncompensated),
    "run timeout": Case(out_of_time),
    "group of shapes": Case(group_of_shapes, APPROVED),
    "child again": Case(child_again),
    "undone by an item": Case(undone_by_an_item),
    "unreadable item": Case(item_unreadable),
    "map over no list": Case(no_list),
    "two waits": Case(two_waits, APPROVED),
    "transactional": Case(transactional),
}


@pytest.fixture
def worker(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestWorker]:
    """The real executor, in this process."""
    monkeypatch.setenv("TASKPLATFORM_DATABASE_URL", database_url)
    monkeypatch.setenv("TASKPLATFORM_BROKER_URL", broker_url)
    registry.clear()
    forget()
    alarm = signal.getsignal(signal.SIGALRM)
    made = TestWorker(database_url)
    assert signal.getsignal(signal.SIGALRM) is alarm
    yield made
    made.close()
    close_pools()
    forget()
    registry.clear()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_run_in_process_comes_to_the_same_as_on_postgres(case: Case, worker: TestWorker) -> None:
    pipeline = case.make()
    order = Order()
    run = pipeline.enqueue(order)
    for name, data in case.events:
        send_event(name, data)
    with connect(worker.url, pinned=False) as connection:
        worker.drain()
        elapsed = 0.0
        for _ in range(MOST_WAITS):
            seconds = next_due(connection)
            if seconds is None:
                break
            testing.advance(max(seconds, 0.0))
            elapsed += seconds
            worker.drain()

        run.refresh()
        simulated = testing.run(pipeline, order, events=case.events, connection=connection)

        assert in_process(simulated) == on_postgres(run, connection)
        assert simulated.elapsed == pytest.approx(elapsed, abs=SPENT)


def next_due(connection: Session) -> float | None:
    """In how many seconds something is due; None: nothing will be by itself."""
    row = connection.execute(_NEXT_DUE).fetchone()
    return None if row is None else float(row[0])


def in_process(run: testing.TestRun) -> Came:
    """What `testing.run` gave."""
    return Came(
        run.status,
        run.reason,
        to_jsonable_python(run.output) if run.status == "succeeded" else None,
        (run.error.type, run.failed_step) if run.error else None,
        {
            part.name: part.outcomes
            for step in run.steps
            for part in (step, *step.items)
            if part.attempts
        },
    )


def on_postgres(run: Run, connection: Session) -> Came:
    """What is stored of a run."""
    outcomes: dict[str, list[str]] = {}
    for step, _, outcome in connection.execute(_ATTEMPTS, {"run": run.id}):
        outcomes.setdefault(step, []).append(outcome)
    found = connection.execute(
        "SELECT output_step FROM taskplatform.runs WHERE id = %s", (run.id,)
    ).fetchone()
    assert found is not None
    stored = {step: from_json(output) for step, output in connection.execute(_OUTPUTS, (run.id,))}
    names = found[0].split(",") if found[0] else []
    output = stored[names[0]] if len(names) == 1 else {name: stored[name] for name in names}
    return Came(
        run.status,
        run.reason,
        output if names else None,
        (run.error.type, run.error.step) if run.error else None,
        outcomes,
    )
