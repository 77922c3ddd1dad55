"""Runs in process: groups, maps, sleeps, waits, children and compensations (no server)."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from taskplatform import Context, Event, ItemError, Permanent, Pipeline, Retry, on, testing
from taskplatform.core import registry
from taskplatform.errors import InvalidInput, RunFailed


class Order(BaseModel):
    number: int = 7
    parts: list[str] = ["a", "b", "c"]


class Approval(BaseModel):
    number: int
    by: str


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


@pytest.fixture
def approved() -> Pipeline[Order]:
    """Waits for an approval for a week."""
    pipeline = Pipeline("approved", input=Order)
    pipeline.wait("approval", event="order.approved", match="number", model=Approval, timeout="7d")

    @pipeline.step
    def tell(approval: Approval | None) -> str:
        return "nobody" if approval is None else approval.by

    return pipeline


@pytest.fixture
def for_ever() -> Pipeline[Order]:
    """Waits for an approval for as long as it takes."""
    pipeline = Pipeline("for-ever", input=Order)
    pipeline.wait("the-approval", event="order.approved", match="number")

    @pipeline.step
    def tell(the_approval: dict[str, Any]) -> str:
        return str(the_approval["by"])

    return pipeline


@pytest.fixture
def parent() -> Pipeline[Order]:
    """Has an order approved by another pipeline."""
    inner = Pipeline("inner", input=Approval, retry=Retry(delays=["1h"]))

    @inner.step
    def greet(input: Approval) -> str:
        return f"hello {input.by}"

    pipeline = Pipeline("parent", input=Order)

    def of_order(input: Order) -> Approval:
        return Approval(number=input.number, by="me")

    pipeline.child("greeted", inner, input=of_order)

    @pipeline.step
    def shout(greeted: str) -> str:
        return greeted.upper()

    return pipeline


def test_members_of_a_group_wait_side_by_side() -> None:
    pipeline = Pipeline("p", input=Order, retry=Retry(delays=["1m"]))
    order: list[str] = []

    @pipeline.step(group="both")
    def left(input: Order, ctx: Context) -> int:
        order.append(f"left {ctx.attempt}")
        return 1

    @pipeline.step(group="both")
    def right(input: Order, ctx: Context) -> int:
        order.append(f"right {ctx.attempt}")
        return 2

    failures: Any = {"left": [OSError("x")], "right": [OSError("x")]}
    run = testing.run(pipeline, Order(), failures=failures)

    assert run.output == {"left": 1, "right": 2}
    assert run.elapsed == 60
    assert order == ["left 2", "right 2"]


def test_a_failure_is_injected_into_one_item_of_a_map() -> None:
    pipeline = Pipeline("p", input=Order, retry=Retry(delays=["1m"]))

    @pipeline.map(over="parts", on_item_error="collect")
    def part(item: str, index: int, ctx: Context) -> str:
        ctx.progress(index, 3)
        return item * index

    @pipeline.step
    def good(part: list[str | ItemError]) -> int:
        return len([one for one in part if isinstance(one, str)])

    failures: testing.Failures = {("part", 1): Permanent("bad"), ("part", 2): [OSError("once")]}
    run = testing.run(pipeline, Order(), failures=failures)

    assert run["part"] == [
        "",
        ItemError(index=1, type="taskplatform.errors.Permanent", message="bad"),
        "cc",
    ]
    assert run.output == 2
    assert run.step("part[1]").outcomes == ["failed"]
    assert [run.step(f"part[{index}]").status for index in range(3)] == [
        "succeeded",
        "failed",
        "succeeded",
    ]
    assert run.step("part").status == "succeeded"
    assert run.step("part[2]").outcomes == ["failed", "succeeded"]
    assert run.progress == [(0, 3), (2, 3)]
    assert testing.run(pipeline, Order(), failures={"part": [OSError]}).output == 3


def test_sleeps_pass_at_once() -> None:
    pipeline = Pipeline("p", input=Order)
    pipeline.sleep("cool-down", "30d")

    @pipeline.step
    def a(input: Order, cool_down: None) -> int:
        return 1

    run = testing.run(pipeline, Order())
    assert (run.output, run.elapsed, run["cool-down"]) == (1, 30 * 86400, None)
    with pytest.raises(ValueError, match="'cool-down', which is none of: a"):
        testing.run(pipeline, Order(), failures={"cool-down": OSError})


def test_a_wait_takes_the_event_that_matches(approved: Pipeline[Order]) -> None:
    other, own = Approval(number=8, by="other"), Approval(number=7, by="ann")
    by_name = testing.run(
        approved, Order(), events=[("order.approved", other), ("order.approved", own)]
    )
    assert (by_name.output, by_name["approval"], by_name.elapsed) == ("ann", own, 0)
    by_step = testing.run(approved, Order(), events={"approval": {"number": 7, "by": "bob"}})
    assert by_step.output == "bob"


def test_handlers_hear_of_the_events_that_are_sent(approved: Pipeline[Order]) -> None:
    @on("order.approved")
    def note(event: Event) -> str:
        return str(event.data["by"])

    sent = [("order.approved", Approval(number=8, by="ann"))]
    run = testing.run(approved, Order(), events=sent, handlers=True)
    assert [one.output for one in run.handlers] == ["ann"]


def test_a_wait_without_its_event_times_out(approved: Pipeline[Order]) -> None:
    assert testing.run(approved, Order()).elapsed == 7 * 86400
    run = testing.run(approved, Order(), events={"approval": testing.TIMEOUT})
    assert (run.output, run["approval"]) == ("nobody", None)


def test_a_wait_without_event_and_timeout_says_what_to_give(for_ever: Pipeline[Order]) -> None:
    with pytest.raises(
        testing.NotGiven,
        match=r"step 'for-ever.the-approval' waits for event 'order.approved' with number 7, "
        r"has no timeout.*give events=\[\('order.approved', \{...\}\)\] "
        r"or events=\{'the-approval': \{...\}\}",
    ):
        testing.run(for_ever, Order(), events=[("order.approved", {"number": 8})])
    with pytest.raises(ValueError, match="for ever: give it a timeout"):
        testing.run(for_ever, Order(), events={"the-approval": testing.TIMEOUT})
    given = {"the_approval": {"number": 7, "by": "x"}}
    assert testing.run(for_ever, Order(), events=given).output == "x"


def test_events_that_no_wait_could_take_are_errors(approved: Pipeline[Order]) -> None:
    with pytest.raises(InvalidInput, match=r"step 'approved.approval' cannot read.*by"):
        testing.run(approved, Order(), events=[("order.approved", {"number": 7})])
    with pytest.raises(ValueError, match=r"waits for event 'order.approved' with number 7"):
        testing.run(approved, Order(), events={"approval": {"number": 8, "by": "x"}})
    with pytest.raises(ValueError, match=r"events= names 'aproval'.*did you mean 'approval'"):
        testing.run(approved, Order(), events={"aproval": {"number": 8, "by": "x"}})


def test_children_are_executed_too(parent: Pipeline[Order]) -> None:
    run = testing.run(parent, Order(), failures={"greeted": {"greet": [OSError("away")]}})
    assert (run.output, run.elapsed) == ("HELLO ME", 3600)
    assert run.children["greeted"].output == "hello me"
    assert run.children["greeted"].step("greet").outcomes == ["failed", "succeeded"]


def test_a_child_that_fails_fails_its_step(parent: Pipeline[Order]) -> None:
    run = testing.run(parent, Order(), failures={"greeted": {"greet": Permanent("rude")}})
    assert (run.status, run.failed_step) == ("failed", "greeted")
    with pytest.raises(RunFailed, match=r"ChildFailed: child run .* failed: .*Permanent: rude"):
        run.raise_for_status()


def test_a_parked_child_keeps_its_parent_waiting(parent: Pipeline[Order]) -> None:
    run = testing.run(parent, Order(), failures={"greeted": {"greet": testing.Crash}})
    assert (run.status, run.reason) == ("waiting", "children")
    assert [step.status for step in run.steps] == ["waiting", "pending"]
    assert run.children["greeted"].reason == "parked"


def test_children_are_replaced_by_what_is_given(parent: Pipeline[Order]) -> None:
    def greet(input: Approval) -> str:
        return f"hi {input.by}"

    assert testing.run(parent, Order(), children={"greeted": "hi"}).output == "HI"
    assert testing.run(parent, Order(), children={"greeted": greet}).output == "HI ME"
    failed = testing.run(parent, Order(), children={"greeted": OSError("away")})
    assert (failed.status, failed.failed_step) == ("failed", "greeted")
    with pytest.raises(ValueError, match="children= has what is no output of 'greeted'"):
        testing.run(parent, Order(), children={"greeted": 3})


def test_finished_steps_are_undone_in_reverse_order() -> None:
    pipeline = Pipeline("p", input=Order, retry=Retry(delays=["1m"]))
    undone: list[str] = []

    def undo_a(a: int) -> None:
        undone.append(f"a {a}")

    def undo_b(b: int) -> None:
        undone.append(f"b {b}")

    @pipeline.step(compensate=undo_a)
    def a(input: Order) -> int:
        return 1

    @pipeline.step(compensate=undo_b)
    def b(a: int) -> int:
        return 2

    @pipeline.step
    def c(b: int) -> int:
        return 3

    failures: testing.Failures = {"c": Permanent("no"), "b:compensate": [OSError("away")]}
    run = testing.run(pipeline, Order(), failures=failures)

    assert (run.status, run.failed_step, run.elapsed) == ("failed", "c", 60)
    assert undone == ["b 2", "a 1"]
    assert run.step("b:compensate").outcomes == ["failed", "succeeded"]

    parked = testing.run(
        pipeline, Order(), failures={"c": Permanent("no"), "b:compensate": OSError("away")}
    )
    assert (parked.status, parked.reason) == ("waiting", "parked")
    assert parked.waiting_for == "compensation b:compensate failed: OSError: away"


def test_the_runs_own_time_limit_ends_a_sleep() -> None:
    pipeline = Pipeline("p", input=Order, run_timeout="1d")
    pipeline.sleep("cool-down", "30d")

    @pipeline.step
    def a(input: Order) -> int:
        return 1

    run = testing.run(pipeline, Order())
    assert (run.status, run.elapsed) == ("failed", 86400)
    assert run.error is not None
    assert run.error.type == "RunTimeLimitExceeded"
