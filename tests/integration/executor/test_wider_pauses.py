"""Pauses of queues, owners and keys, and runs that go on all the same."""

from typing import Any
from uuid import UUID

import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.errors import Conflict
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.storage import canaries, paused, pauses
from taskplatform.storage.cancel import cancel
from taskplatform.supervisor.pauses import Pauses
from taskplatform.supervisor.session import Database
from tests.integration.executor.house import House, Number

GIVEN: dict[str, Any] = {
    "pipeline": "p",
    "first_step": "first",
    "queue": "default",
    "input": b'{"n":1}',
}


@pytest.fixture
def p(house: House) -> Pipeline[Number]:
    """Two steps, the second on a queue of its own."""
    p = Pipeline("p", input=Number)

    @p.step
    def first() -> None: ...

    @p.step(queue="other")
    def second() -> None: ...

    p.finalize()
    return p


def work(house: House, child: Child) -> None:
    """Execute until nothing is ready, by what is paused now."""
    child.link.paused._again = 0.0
    queues = ["default", "other"]
    while child.ready(queues):
        child.link.paused._again = 0.0
        claimed, _ = child.claim(queues)
        child.remember(claimed)
        Batch(child, house.rung.append).execute(claimed)


def states(house: House) -> dict[UUID, tuple[str, str | None]]:
    return {
        run: (status, waiting_for)
        for run, status, waiting_for in house.stage.rows(
            "SELECT id, status, waiting_for FROM taskplatform.runs"
        )
    }


def test_a_paused_queue_is_left_alone_in_the_middle_of_a_run_too(
    house: House, p: Pipeline[Number]
) -> None:
    """W17: nothing is touched for it; what has begun elsewhere waits at its step."""
    child, connection = house.child("first", "second"), house.stage.connection
    runs = house.enqueue(p, 3)
    assert paused.pause(connection, "queue", "other", "new drivers")
    assert not paused.pause(connection, "queue", "other", None)

    work(house, child)

    assert set(states(house).values()) == {("queued", None)}
    assert all(set(house.stage.results(run)) == {"first"} for run in runs)
    assert paused.resume(connection, "queue", "other")
    work(house, child)
    assert {status for status, _ in states(house).values()} == {"succeeded"}


def test_an_owner_is_paused_and_others_go_on(house: House, p: Pipeline[Number]) -> None:
    """W17: in a lane it is passed over, and elsewhere set aside when it is met."""
    child, connection = house.child("first", "second"), house.stage.connection
    (lane,) = house.stage.runs(**GIVEN, owner="acme", fair_key="acme")
    (plain,) = house.stage.runs(**GIVEN, owner="acme")
    (other,) = house.stage.runs(**GIVEN, owner="b", fair_key="b")
    child.lanes._in_use = True
    paused.pause(connection, "owner", "acme", None)

    work(house, child)

    assert states(house) == {
        lane: ("queued", None),
        plain: ("waiting", "owner acme, who is paused"),
        other: ("succeeded", None),
    }
    assert pauses.let_go(connection, ["p"]).total() == 0
    database = Database(house.stage.url, "w")
    database._connection = connection
    supervisor = Pauses(database, ["default", "other"], ["p"], lambda _: None)
    supervisor.tick()
    assert supervisor.outlook(connection).ready == []
    paused.resume(connection, "owner", "acme")
    supervisor.tick()
    assert supervisor.outlook(connection).ready == ["default"]
    work(house, child)
    assert {status for status, _ in states(house).values()} == {"succeeded"}


def test_a_key_is_paused_and_others_go_on(house: House, p: Pipeline[Number]) -> None:
    """W17: only that one run of that one pipeline."""
    child, connection = house.child("first", "second"), house.stage.connection
    (one,) = house.stage.runs(**GIVEN, key="k1")
    (two,) = house.stage.runs(**GIVEN, key="k2")
    paused.pause(connection, "key", "k1", None, pipeline="p")
    paused.pause(connection, "key", "k2", None, pipeline="other")

    work(house, child)

    assert states(house) == {one: ("waiting", "key k1, which is paused"), two: ("succeeded", None)}
    paused.resume(connection, "key", "k1", pipeline="p")
    assert pauses.let_go(connection, ["p"]) == {"default": 1}
    work(house, child)
    assert house.stage.status(one) == "succeeded"


def test_one_canary_goes_through_a_paused_pipeline(house: House, p: Pipeline[Number]) -> None:
    """W14, W17: to its end, over all its steps, and nobody else does."""
    child, connection = house.child("first", "second"), house.stage.connection
    first, second, third = house.enqueue(p, 3)
    pauses.pause(connection, "p", "is it mended?")
    assert pauses.set_aside(connection, ["p"]) == 3
    assert canaries.oldest(connection, "p", 2) == [first, second]

    assert canaries.start(connection, first) == ["default"]
    assert pauses.set_aside(connection, ["p"]) == 0
    assert canaries.ready(connection, ["default"], ["p"]) == {"default": 1}
    work(house, child)

    assert house.stage.status(first) == "succeeded"
    assert {house.stage.status(run) for run in (second, third)} == {"waiting"}
    canaries.sweep(connection)
    assert paused.standing(connection).canaries == frozenset()
    with pytest.raises(Conflict, match="succeeded"):
        canaries.start(connection, first)
    cancel(connection, second)
    assert canaries.oldest(connection, "p", 2) == [third]
