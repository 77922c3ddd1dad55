"""What a child gives back: at a shutdown, when its lease is in doubt, when it is interrupted."""

import signal
import threading
from os import getpid, kill
from time import monotonic_ns

from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import Interrupted
from tests.integration.executor.house import Count, House, Number


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
