"""Shapes as the executor takes runs through them: groups, maps, sleeps, waits, children."""

import json
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from taskplatform.client.pipeline import Pipeline
from taskplatform.core.ids import uuid7
from taskplatform.core.item_error import ItemError
from taskplatform.core.retry import Retry
from taskplatform.errors import Permanent
from taskplatform.executor.batch import Batch
from taskplatform.storage import clock, events
from taskplatform.storage.cancel import cancel
from taskplatform.storage.dispatch import release_due
from tests.integration.executor.house import Count, House, Number


class Approval(BaseModel):
    ok: bool


class Request(BaseModel):
    n: int = 0
    request_id: str = "r0"
    names: list[str] = []


def stored(house: House, run: UUID, step: str) -> Any:
    return json.loads(house.stage.results(run)[step])


def send(house: House, name: str, data: dict[str, Any]) -> UUID:
    id = uuid7()
    values = [value if isinstance(value, str) else json.dumps(value) for value in data.values()]
    events.send(
        house.stage.connection, id=id, name=name, data=json.dumps(data).encode(), values=values
    )
    return id


def state(house: House, run: UUID) -> tuple[Any, ...]:
    return house.stage.rows(
        "SELECT status, reason, waiting_for FROM taskplatform.runs WHERE id = %s", run
    )[0]


def pass_time(house: House, seconds: float) -> None:
    """Let time pass, and what is due be dispatched."""
    clock.advance(house.stage.connection, seconds)
    while release_due(house.stage.connection):
        pass


def test_the_members_of_a_group_are_branches_and_join(house: House, count: Count) -> None:
    p = Pipeline("p", input=Number)

    @p.step
    def start(input: Number) -> int:
        return input.n

    @p.step(group="both")
    def left(start: int) -> int:
        count("left")
        return start + 1

    @p.step(group="both")
    def right(start: int) -> int:
        count("right")
        return start + 2

    @p.step
    def end(left: int, right: int) -> list[int]:
        return [left, right]

    (run,) = house.enqueue(p)
    house.work(house.child())
    assert house.status(run) == "succeeded"
    assert stored(house, run, "end") == [1, 2]
    assert count.of("left") == count.of("right") == 1
    assert house.stage.value("SELECT count(*) FROM taskplatform.work") == 0


def test_a_group_may_be_first_and_last(house: House) -> None:
    p = Pipeline("p", input=Number)

    @p.step(group="both")
    def left(input: Number) -> int:
        return 1

    @p.step(group="both")
    def right(input: Number) -> int:
        return 2

    (run,) = house.enqueue(p)
    house.work(house.child())
    assert house.status(run) == "succeeded"
    assert (
        house.stage.value("SELECT output_step FROM taskplatform.runs WHERE id = %s", run)
        == "left,right"
    )


@pytest.mark.parametrize("width", [None, 3])
def test_a_map_collects_in_order(house: House, width: int | None) -> None:
    p = Pipeline("p", input=Request)

    @p.map(over="names", max_parallel=width)
    def shout(item: str, index: int, input: Request) -> str:
        return f"{index}:{item.upper()}:{input.request_id}"

    @p.step
    def end(shout: list[str]) -> str:
        return ",".join(shout)

    names = ["a", "b", "c", "d", "e", "f", "g"]
    (run,) = house.stage.runs(
        first_step="shout",
        queue="default",
        input=Request(names=names).model_dump_json().encode(),
    )
    house.work(house.child())
    assert house.status(run) == "succeeded"
    assert stored(house, run, "end") == ",".join(
        f"{n}:{name.upper()}:r0" for n, name in enumerate(names)
    )


def test_a_map_over_nothing_is_an_empty_list(house: House) -> None:
    p = Pipeline("p", input=Request)

    @p.step
    def find(input: Request) -> list[int]:
        return []

    @p.map(over="find")
    def double(item: int) -> int:
        return item * 2

    (run,) = house.stage.runs(first_step="find", queue="default", input=b"{}")
    house.work(house.child())
    assert house.status(run) == "succeeded"
    assert stored(house, run, "double") == []


def test_a_failed_item_fails_the_run_and_a_retry_executes_failed_items_only(
    house: House, count: Count
) -> None:
    p = Pipeline("p", input=Request, retry=Retry(0))
    broken = {2}

    @p.step
    def find(input: Request) -> list[int]:
        return list(range(5))

    @p.map(over="find")
    def double(item: int) -> int:
        count(str(item))
        if item in broken:
            raise ValueError("broken")
        return item * 2

    (run,) = house.stage.runs(first_step="find", queue="default", input=b"{}")
    house.work(house.child("find", "double"))
    assert house.status(run) == "failed"
    error = json.loads(house.stage.value("SELECT error FROM taskplatform.runs WHERE id = %s", run))
    assert (error["step"], error["type"]) == ("double[2]", "ValueError")
    assert house.stage.value("SELECT count(*) FROM taskplatform.work") == 0
    done = {int(name) for name in ("0", "1", "3", "4") if count.of(name)}
    broken.clear()
    house.retry(run, "double")
    house.work(house.child("find", "double"))
    assert house.status(run) == "succeeded"
    assert stored(house, run, "double") == [0, 2, 4, 6, 8]
    assert count.of("2") == 2
    assert all(count.of(str(n)) == 1 for n in done)


def test_errors_of_items_are_collected(house: House) -> None:
    p = Pipeline("p", input=Request, retry=Retry(0))

    @p.step
    def find(input: Request) -> list[int]:
        return list(range(4))

    @p.map(over="find", on_item_error="collect")
    def double(item: int) -> int:
        if item == 1:
            raise Permanent("no")
        return item * 2

    @p.step
    def end(double: list[int | ItemError]) -> list[str]:
        return [type(one).__name__ for one in double]

    (run,) = house.stage.runs(first_step="find", queue="default", input=b"{}")
    house.work(house.child())
    assert house.status(run) == "succeeded"
    assert stored(house, run, "end") == ["int", "ItemError", "int", "int"]
    assert stored(house, run, "double")[1]["message"] == "no"


def test_a_wait_of_3_days_and_a_sleep_of_30_days_pass_at_once(house: House) -> None:
    p = Pipeline("p", input=Request)
    p.sleep("cool-down", "30d")
    p.wait("approval", event="content.approved", timeout="3d", model=Approval)

    @p.step
    def end(approval: Approval | None) -> bool:
        return approval is None

    (run,) = house.stage.runs(first_step="cool-down", queue="default", input=b"{}")
    child = house.child()
    house.work(child)
    assert state(house, run)[:2] == ("waiting", "sleep")
    pass_time(house, 30 * 86400 - 60)
    house.work(child)
    assert state(house, run)[:2] == ("waiting", "sleep")
    pass_time(house, 61)
    house.work(child)
    assert state(house, run) == ("waiting", "event", "event content.approved")
    pass_time(house, 3 * 86400 + 1)
    house.work(child)
    assert house.status(run) == "succeeded"
    assert stored(house, run, "end") is True


def wait_pipeline(**options: Any) -> Pipeline[Request]:
    p = Pipeline("p", input=Request)

    @p.step
    def start(input: Request) -> None: ...

    p.wait("approval", event="content.approved", model=Approval, **options)

    @p.step
    def end(approval: Approval) -> bool:
        return approval.ok

    return p


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_event_is_matched_before_and_after_the_wait(house: House, when: str) -> None:
    wait_pipeline(match="request_id")
    (run,) = house.stage.runs(first_step="start", queue="default", input=b'{"request_id":"r1"}')
    child = house.child()
    if when == "after":
        house.work(child)
        assert state(house, run) == (
            "waiting",
            "event",
            "event content.approved (request_id=r1)",
        )
    send(house, "content.approved", {"request_id": "r2", "ok": False})
    send(house, "content.rejected", {"request_id": "r1", "ok": False})
    send(house, "content.approved", {"request_id": "r1", "ok": True})
    if when == "after":
        assert house.status(run) == "queued"
    send(house, "content.approved", {"request_id": "r1", "ok": False})
    house.work(child)
    assert house.status(run) == "succeeded"
    assert stored(house, run, "approval") == {"ok": True}


def test_an_event_that_does_not_fit_is_passed_over(house: House) -> None:
    wait_pipeline()
    (run,) = house.stage.runs(first_step="start", queue="default", input=b"{}")
    child = house.child()
    send(house, "content.approved", {"ok": "perhaps"})
    house.work(child)
    assert state(house, run)[:2] == ("waiting", "event")
    (attempt,) = house.stage.rows(
        "SELECT outcome, error FROM taskplatform.step_attempts WHERE run_id = %s", run
    )
    assert attempt[0] == "failed"
    assert "passed over" in json.loads(attempt[1])["message"]
    send(house, "content.approved", {"ok": True})
    house.work(child)
    assert house.status(run) == "succeeded"


def test_a_run_uses_an_event_once(house: House) -> None:
    p = Pipeline("p", input=Request)
    p.wait("one", event="tick")
    p.wait("two", event="tick")
    (run,) = house.stage.runs(first_step="one", queue="default", input=b"{}")
    child = house.child()
    send(house, "tick", {"n": 1})
    house.work(child)
    assert state(house, run)[:2] == ("waiting", "event")
    send(house, "tick", {"n": 2})
    house.work(child)
    assert house.status(run) == "succeeded"
    assert (stored(house, run, "one"), stored(house, run, "two")) == ({"n": 1}, {"n": 2})


def test_a_wait_may_fail_the_run(house: House) -> None:
    wait_pipeline(timeout="1h", on_timeout="fail")
    (run,) = house.stage.runs(first_step="start", queue="default", input=b"{}")
    child = house.child()
    house.work(child)
    pass_time(house, 3601)
    house.work(child)
    assert house.status(run) == "failed"


def family(count: Count, broken: set[int]) -> tuple[Pipeline[Request], Pipeline[Number]]:
    small = Pipeline("small", input=Number, key="n", retry=Retry(0))

    @small.step
    def work(input: Number) -> int:
        count("work")
        if input.n in broken:
            raise ValueError("broken")
        return input.n * 10

    p = Pipeline("p", input=Request)

    def for_small(input: Request) -> Number:
        return Number(n=input.n)

    p.child("one", small, input=for_small)

    @p.step
    def end(one: int) -> int:
        return one + 1

    return p, small


def test_a_child_gives_its_output(house: House, count: Count) -> None:
    family(count, set())
    (run,) = house.stage.runs(first_step="one", queue="default", input=b'{"n":4}')
    child = house.child()
    house.shift(child)
    (kid,) = house.stage.rows("SELECT id, status FROM taskplatform.runs WHERE parent_run = %s", run)
    assert state(house, run) == ("waiting", "children", f"run {kid[0]}")
    house.work(child)
    assert house.status(run) == "succeeded"
    assert stored(house, run, "end") == 41
    assert count.of("work") == 1


def test_the_failure_of_a_child_fails_its_parent_and_a_retry_makes_another(
    house: House, count: Count
) -> None:
    broken = {4}
    family(count, broken)
    (run,) = house.stage.runs(first_step="one", queue="default", input=b'{"n":4}')
    child = house.child()
    house.work(child)
    assert house.status(run) == "failed"
    error = json.loads(house.stage.value("SELECT error FROM taskplatform.runs WHERE id = %s", run))
    assert error["type"] == "ChildFailed"
    assert "ValueError: broken" in error["message"]
    broken.clear()
    house.retry(run, "one")
    house.work(child)
    assert house.status(run) == "succeeded"
    assert count.of("work") == 2


def test_cancel_reaches_children_and_a_cancelled_child_fails_its_parent(
    house: House, count: Count
) -> None:
    family(count, set())
    first, second = house.stage.runs(2, first_step="one", queue="default", input=b'{"n":4}')
    child = house.child()
    house.shift(child)
    house.shift(child)
    assert cancel(house.stage.connection, first)
    kids = house.stage.rows("SELECT id, status FROM taskplatform.runs WHERE parent_run = %s", first)
    assert [status for _, status in kids] == ["cancelled"]
    kid = house.stage.value("SELECT id FROM taskplatform.runs WHERE parent_run = %s", second)
    assert cancel(house.stage.connection, kid)
    assert house.status(second) == "queued"
    house.work(child)
    assert house.status(second) == "failed"
    assert count.of("work") == 0


def saga(count: Count, order: list[str], broken: set[str]) -> Pipeline[Request]:
    p = Pipeline("p", input=Request, retry=Retry(0))

    def undo_a(a: int) -> None:
        order.append("a")
        if "undo-a" in broken:
            raise ValueError("cannot")

    def undo_b(input: Request, b: int) -> None:
        order.append("b")

    @p.step(compensate=undo_a)
    def a(input: Request) -> int:
        return 1

    @p.step(compensate=undo_b)
    def b(a: int) -> int:
        return 2

    @p.step
    def c(b: int) -> int:
        if "c" in broken:
            raise ValueError("c is broken")
        return 3

    return p


def test_a_run_that_fails_is_compensated_in_reverse_order(house: House, count: Count) -> None:
    order: list[str] = []
    saga(count, order, {"c"})
    (run,) = house.stage.runs(first_step="a", queue="default", input=b"{}")
    house.work(house.child())
    assert order == ["b", "a"]
    assert house.status(run) == "failed"
    error = json.loads(house.stage.value("SELECT error FROM taskplatform.runs WHERE id = %s", run))
    assert (error["step"], error["message"]) == ("c", "c is broken")


def test_a_compensation_that_fails_parks_the_run(house: House, count: Count) -> None:
    order: list[str] = []
    broken = {"c", "undo-a"}
    saga(count, order, broken)
    (run,) = house.stage.runs(first_step="a", queue="default", input=b"{}")
    house.work(house.child())
    assert state(house, run)[:2] == ("waiting", "parked")
    broken.clear()
    house.retry(run, "a")
    house.work(house.child())
    assert house.status(run) == "failed"
    assert order == ["b", "a", "a"]


def test_a_map_in_a_group_beside_a_child_and_a_wait(house: House, count: Count) -> None:
    small = Pipeline("small", input=Number)

    @small.step
    def work(input: Number) -> int:
        return input.n * 10

    p = Pipeline("p", input=Request)

    def for_small(input: Request) -> Number:
        return Number(n=7)

    @p.map(over="names", group="all", max_parallel=2)
    def shout(item: str) -> str:
        return item.upper()

    p.child("kid", small, input=for_small, group="all")
    p.wait("approval", event="ok", group="all")
    p.sleep("nap", "1h", group="all")

    @p.step
    def end(shout: list[str], kid: int, approval: dict[str, Any]) -> list[Any]:
        return [shout, kid, approval]

    (run,) = house.stage.runs(first_step="shout", queue="default", input=b'{"names":["a","b","c"]}')
    child = house.child()
    house.work(child)
    assert state(house, run)[:2] == ("waiting", "sleep")
    pass_time(house, 3601)
    house.work(child)
    assert state(house, run)[:2] == ("waiting", "event")
    send(house, "ok", {"by": "me"})
    house.work(child)
    assert house.status(run) == "succeeded"
    assert stored(house, run, "end") == [["A", "B", "C"], 70, {"by": "me"}]


def test_a_run_that_fails_ends_the_children_that_nobody_waits_for_any_more(
    house: House, count: Count
) -> None:
    small = Pipeline("small", input=Number)

    @small.step
    def work(input: Number) -> int:
        count("work")
        return 1

    p = Pipeline("p", input=Request, retry=Retry(0))

    def for_small(input: Request) -> Number:
        return Number()

    p.child("kid", small, input=for_small, group="both")

    @p.step(group="both")
    def fails(input: Request) -> int:
        raise Permanent("no")

    (run,) = house.stage.runs(first_step="kid", queue="default", input=b"{}")
    child = house.child()
    house.shift(child)  # forks
    house.shift(child)  # the child is stored
    house.shift(child)
    house.work(child)
    assert house.status(run) == "failed"
    kids = house.stage.rows("SELECT status FROM taskplatform.runs WHERE parent_run = %s", run)
    assert kids == [("cancelled",)]
    assert count.of("work") == 0


def test_a_join_rings_for_a_queue_that_is_not_served_where_its_last_branch_ended(
    house: House,
) -> None:
    p = Pipeline("p", input=Request)

    @p.step(group="both", queue="net")
    def left(input: Request) -> int:
        return 1

    @p.step(group="both", queue="net")
    def right(input: Request) -> int:
        return 2

    @p.step
    def end(left: int, right: int) -> int:
        return left + right

    house.stage.runs(first_step="left", queue="default", input=b"{}")
    house.shift(house.child())
    net = house.child()
    for _ in range(2):
        house.rung.clear()
        claimed, _ = net.claim(["net"])
        net.remember(claimed)
        Batch(net, house.rung.append).execute(claimed)
    assert house.rung == [{"default": 1}]


def test_items_that_give_nothing_keep_their_places(house: House) -> None:
    p = Pipeline("p", input=Request)

    @p.map(over="names")
    def visit(item: str) -> str | None:
        return None if item == "b" else item

    @p.map(over="names")
    def forget(item: str) -> None: ...

    (run,) = house.stage.runs(first_step="visit", queue="default", input=b'{"names":["a","b","c"]}')
    house.work(house.child())
    assert stored(house, run, "visit") == ["a", None, "c"]
    assert stored(house, run, "forget") == [None, None, None]
    lost = "SELECT count(*) FROM taskplatform.items WHERE output IS NULL"
    assert house.stage.value(lost) == 0
