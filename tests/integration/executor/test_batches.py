"""Batches of short steps: together when ready together, and nobody waits for the slow one."""

import signal
import threading
from os import getpid, kill
from time import monotonic_ns

import pytest

from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import Interrupted
from taskplatform.executor.batch import Batch
from taskplatform.storage.claim import held_by
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

    class Revoking:
        def started(self, step: object, run_id: object, number: int) -> None:
            if len(count.times) == 2:
                child.slot.revoke = True

        ended = instrument.ended

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


def test_a_shutdown_hands_back_at_the_step_boundary(house: House, count: Count) -> None:
    """F10, Q23: the body that runs ends and counts; the next one is somebody else's."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        house.table.grace_ends_ns = monotonic_ns() + 60 * 10**9
        return count("a")

    @pipeline.step
    def b(a: int, ctx: Context) -> int:
        return count("b") + a

    (run,) = house.enqueue(pipeline)
    child = house.child()
    house.shift(child)

    assert count.times == {"a": 1}
    assert house.stage.results(run) == {"a": b"1"}
    assert house.stage.attempts(run) == []
    assert house.status(run) == "queued"
    house.table.grace_ends_ns = 0
    house.work_elsewhere()
    assert count.times == {"a": 1, "b": 1}
    assert house.status(run) == "succeeded"
    assert not house.stage.wrong()


def test_a_shutdown_in_a_batch_starts_no_further_body(house: House, count: Count) -> None:
    """F10: what waits in the batch goes back as it was."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        if input.n == 1:
            house.table.cold = True
        return count(input.n)

    runs = house.enqueue(pipeline, 5)
    house.shift(house.child("a"))

    assert count.times == {0: 1, 1: 1}
    assert [house.status(run) for run in runs] == ["succeeded"] * 2 + ["queued"] * 3
    assert house.stage.value("SELECT count(*) FROM taskplatform.step_attempts") == 0
    assert not house.stage.wrong()


def test_a_lease_in_doubt_starts_no_body(house: House, count: Count) -> None:
    """G3: a child that cannot be sure of its lease starts nothing new."""
    pipeline = Declaration("p", input=Number)
    child = house.child("a")

    @pipeline.step
    def a(input: Number) -> int:
        if input.n == 1:
            child.slot.lease_until_ns = monotonic_ns()
        return count(input.n)

    runs = house.enqueue(pipeline, 4)
    old = house.stage.value("SELECT coalesce(max(id), 0) FROM taskplatform.holders")
    house.shift(child)

    assert count.times == {0: 1, 1: 1}
    assert [house.status(run) for run in runs] == ["succeeded"] * 2 + ["queued"] * 2
    house.work(child)
    assert child.slot.holder > old + 1
    assert {house.status(run) for run in runs} == {"succeeded"}


def test_an_interrupted_body_is_handed_back_and_uses_no_retry(house: House, count: Count) -> None:
    """F11: recorded as `interrupted`, ready at once, its budget untouched."""
    pipeline = Declaration("p", input=Number)
    child = house.child()
    ended = threading.Event()

    @pipeline.step
    def a(input: Number) -> int:
        if count("a") == 1:
            child.slot.interrupt = True
            kill(getpid(), signal.SIGALRM)
            ended.set()
        return 1

    (run,) = house.enqueue(pipeline)
    house.shift(child)

    assert not ended.is_set()
    assert house.stage.attempts(run) == [("a", 1, "interrupted")]
    assert house.stage.rows("SELECT failures, due_at, holder FROM taskplatform.work") == [
        (0, None, None)
    ]
    assert house.status(run) == "queued"
    child.slot.interrupt = False
    house.work_elsewhere()
    assert house.status(run) == "succeeded"
    result = house.stage.rows("SELECT attempt FROM taskplatform.step_results")
    assert result == [(2,)]


def test_a_body_may_raise_the_interruption_itself(house: House) -> None:
    """F11: by polling ctx.cancelled, for instance."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Interrupted
        return 1

    (run,) = house.enqueue(pipeline)
    house.work(house.child())

    assert house.stage.attempts(run) == [("a", 1, "interrupted")]
    assert house.status(run) == "succeeded"


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
