"""Batches of short steps: together when ready together, and nobody waits for the slow one."""

import os
import threading
from collections.abc import Sequence
from time import monotonic_ns

import pytest

from taskplatform.core.pipeline import Declaration
from taskplatform.executor.batch import Batch
from taskplatform.executor.instruments import Silent
from taskplatform.storage.claim import held_by
from taskplatform.storage.settlement import Settlement
from taskplatform.supervisor.session import Database
from taskplatform.supervisor.watch import SHORT, Watch
from tests.integration.executor.house import QUICK, Count, House, Number
from tests.integration.races.stage import wait_until


def three_steps(count: Count) -> Declaration[Number]:
    """Each adds one."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        count(("a", input.n))
        return input.n + 1

    @pipeline.step
    def b(a: int, input: Number) -> int:
        count(("b", input.n))
        return a + 1

    @pipeline.step
    def c(b: int, input: Number) -> int:
        count(("c", input.n))
        return b + 1

    return pipeline


def test_many_short_runs_are_executed_once_each(house: House, count: Count) -> None:
    """G3, Q3, Q12: outputs go from step to step, and each body is executed once."""
    pipeline = three_steps(count)
    runs = house.enqueue(pipeline, 150)
    child = house.child("a", "b", "c")

    house.work(child)

    assert set(count.times.values()) == {1}
    assert len(count.times) == 450
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert house.stage.results(runs[7]) == {"a": b"8", "b": b"9", "c": b"10"}
    assert not house.stage.wrong()


def test_a_lone_run_and_a_batch_take_the_same_path(house: House, count: Count) -> None:
    """Design: unknown costs are claimed one by one, known ones together."""
    pipeline = three_steps(count)
    house.enqueue(pipeline, 12)
    child = house.child()

    first = house.shift(child)
    child.costs.known.update({f"p.{step}": QUICK for step in "abc"})
    second = house.shift(child)

    assert (first, second) == (1, 11)
    assert set(count.times.values()) == {1}
    assert not house.stage.wrong()


def test_outcomes_are_committed_while_a_slow_body_still_runs(house: House) -> None:
    """W14: the neighbours of a body that lasts are durable long before it ends."""
    pipeline = Declaration("p", input=Number)
    watcher = house.stage.session()
    seen: list[int] = []

    @pipeline.step
    def a(input: Number) -> int:
        if input.n == 2:
            query = "SELECT count(*) FROM taskplatform.step_results"
            wait_until(lambda: watcher.execute(query).fetchone() == (2,))
            seen.append(input.n)
        return input.n

    runs = house.enqueue(pipeline, 4)
    child = house.child("a")

    assert house.shift(child) == 4

    assert seen == [2]
    assert {house.status(run) for run in runs} == {"succeeded"}


def test_a_revoked_batch_gives_back_what_has_not_started(house: House, count: Count) -> None:
    """The supervisor asks while a body runs: the rest is executed once, by somebody else."""
    pipeline = Declaration("p", input=Number)
    child = house.child("a")

    @pipeline.step
    def a(input: Number) -> int:
        count(input.n)
        if input.n == 1:
            # The supervisor looks after 50 ms; what ended before is durable by then.
            wait_until(lambda: house.status(runs[0]) == "succeeded")
            child.slot.revoke = True
            note = child.slot.note()
            assert note is not None
            holder = child.slot.holder
            with house.stage.session() as session:
                assert house.rescuer.take_back(session, holder, note) == {"default"}
            house.work_elsewhere()
        return input.n

    runs = house.enqueue(pipeline, 6)
    assert house.shift(child) == 6

    assert count.times == dict.fromkeys(range(6), 1)
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert child.slot.revoke is False
    assert not house.stage.wrong()


def test_what_has_ended_is_not_given_back(
    house: House, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G2: a commit that takes long, beside a body that lasts, lets no body execute again."""
    pipeline = Declaration("p", input=Number)
    child = house.child("a")
    database = Database(house.stage.url, "watch")
    watch = Watch(os.getpid(), child.table, database, house.rescuer)
    settle, committing, go_on = child.settle, threading.Event(), threading.Event()

    def late(settlements: Sequence[Settlement]) -> set[int]:
        committing.set()
        assert go_on.wait(10)
        return settle(settlements)

    @pipeline.step
    def a(input: Number) -> int:
        count(input.n)
        if input.n == 1:
            note = child.slot.note()
            assert note is not None
            assert committing.wait(10)
            wait_until(lambda: monotonic_ns() > note.started_ns + SHORT * 1e9)
            assert watch.tick() == {}
            go_on.set()
            wait_until(lambda: watch.tick() == {"default": 1})
            house.work_elsewhere()
        return input.n

    monkeypatch.setattr(child, "settle", late)
    runs = house.enqueue(pipeline, 6)
    house.shift(child)
    database.ask(lambda connection: connection.close(), None)

    assert count.times == dict.fromkeys(range(6), 1)
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert not house.stage.wrong()


def test_a_revoked_child_gives_back_by_itself(house: House, count: Count) -> None:
    """The supervisor asked, and died before it took anything back."""
    pipeline = Declaration("p", input=Number)
    child = house.child("a")

    @pipeline.step
    def a(input: Number) -> int:
        if count(input.n) == 1 and input.n == 1:
            child.slot.revoke = True
        return input.n

    runs = house.enqueue(pipeline, 6)
    house.shift(child)

    assert count.times == {0: 1, 1: 1}
    assert held_by(house.stage.connection, child.slot.holder) == []
    house.work_elsewhere()
    assert count.times == dict.fromkeys(range(6), 1)
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert not house.stage.wrong()


def test_what_was_to_go_on_is_revoked_with_the_rest(house: House, count: Count) -> None:
    """G4: branches of the batch that wait for their next step go back at that step."""
    pipeline = three_steps(count)
    child = house.child("a", "b", "c")
    house.enqueue(pipeline, 4)
    claimed, _ = child.claim(["default"])
    child.remember(claimed)
    instrument = child.instrument

    class Revoking(Silent):
        def started(self, step: object, run_id: object, number: int, label: str) -> None:
            if len(count.times) == 2:
                child.slot.revoke = True

    child.instrument = Revoking()
    Batch(child, house.rung.append).execute(claimed)
    child.instrument = instrument

    assert count.times == {("a", 0): 1, ("a", 1): 1, ("a", 2): 1}
    steps = house.stage.rows("SELECT step, holder FROM taskplatform.work ORDER BY run_id")
    assert steps == [("b", None), ("b", None), ("b", None), ("a", None)]
    house.work_elsewhere()
    assert set(count.times.values()) == {1}
    assert len(count.times) == 12
    assert not house.stage.wrong()


@pytest.mark.parametrize("known", [True, False])
def test_a_late_result_of_a_batch_is_refused_and_counted(
    house: House, count: Count, known: bool
) -> None:
    """G3, G10: cancelled while its body ran: no further step, and the refusal is counted."""
    pipeline = Declaration("p", input=Number)
    child = house.child("a") if known else house.child()

    @pipeline.step
    def a(input: Number) -> int:
        if input.n == 0:
            with house.stage.session() as session:
                session.execute("DELETE FROM taskplatform.work WHERE run_id = %s", (runs[0],))
                session.execute(
                    "UPDATE taskplatform.runs SET status = 'cancelled', finished_at = now()"
                    " WHERE id = %s",
                    (runs[0],),
                )
        return count(("a", input.n))

    @pipeline.step
    def b(input: Number) -> int:
        return count(("b", input.n))

    runs = house.enqueue(pipeline, 2)
    house.work(child)

    assert count.times == {("a", 0): 1, ("a", 1): 1, ("b", 1): 1}
    assert child.slot.refused == 1
    assert [house.status(run) for run in runs] == ["cancelled", "succeeded"]
    assert house.stage.results(runs[0]) == {}
