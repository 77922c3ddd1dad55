"""The database goes away between body and commit, in the commit, and before the body."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.throttle import Throttle
from taskplatform.errors import Unavailable
from taskplatform.executor import child as child_module
from taskplatform.executor.batch import Batch
from taskplatform.storage.claim import held_by
from taskplatform.storage.connection import Session
from taskplatform.storage.settle import committed, settle
from taskplatform.storage.settlement import Settlement
from taskplatform.supervisor.rescue import lost_holders
from tests.integration.executor.house import Count, House, Number
from tests.integration.executor.proxy import Proxy


@pytest.fixture
def proxy(house: House) -> Iterator[Proxy]:
    """Stands between a child and the database; closed before the children are."""
    proxy = Proxy(house.stage.url)
    yield proxy
    proxy.close()


def test_a_result_outlives_the_session_that_was_to_store_it(house: House, count: Count) -> None:
    """F18, L12: the connection is killed between body and commit: stored once, executed once."""
    pipeline = Declaration("p", input=Number)
    child = house.child("a", "b")

    @pipeline.step
    def a(input: Number) -> int:
        if input.n == 2:
            house.kill_connection(child)
        return count(("a", input.n))

    @pipeline.step
    def b(input: Number) -> int:
        return count(("b", input.n))

    runs = house.enqueue(pipeline, 5)
    house.work(child)

    assert set(count.times.values()) == {1}
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert child.slot.refused == 0
    assert not house.stage.wrong()


@pytest.mark.parametrize("runs", [1, 5])
def test_the_answer_to_a_commit_is_lost(
    house: House, proxy: Proxy, count: Count, runs: int
) -> None:
    """F20, L12, G3, G4: it was committed: nothing is executed again, nothing counts as refused."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        if input.n == runs - 1:
            proxy.armed.set()
        return count(("a", input.n))

    @pipeline.step
    def b(input: Number) -> int:
        if input.n == runs - 1:
            proxy.armed.set()
        return count(("b", input.n))

    made = house.enqueue(pipeline, runs)
    child = house.child("a", "b", url=proxy.url)
    house.work(child)

    assert proxy.cuts == 2
    assert set(count.times.values()) == {1}
    assert {house.status(run) for run in made} == {"succeeded"}
    assert child.slot.refused == 0
    assert not house.stage.wrong()


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("told", [False, True])
def test_a_commit_that_ends_after_it_was_asked_for(
    house: House, count: Count, monkeypatch: pytest.MonkeyPatch, steps: int, told: bool
) -> None:
    """F20, G3, G4: what is stored already is this holder's own result, and no failure.

    `told` that the first try broke, or not.
    """
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        return count(("a", input.n))

    if steps == 2:

        @pipeline.step
        def b(input: Number) -> int:
            return count(("b", input.n))

    runs = house.enqueue(pipeline, 3)
    child = house.child("a", "b")
    tries: list[Sequence[Settlement]] = []

    def store_late(made: Sequence[Settlement]) -> None:
        with house.stage.session() as other:
            for one in made:
                assert one.result is not None
                other.execute(
                    "INSERT INTO taskplatform.step_results (run_id, step_name, output, attempt,"
                    " started_at, finished_at, epoch) SELECT %s, %s, %s, 1, now(), now(), %s",
                    (one.run_id, one.result.step, one.result.output.decode(), one.epoch),
                )

    def settle_first(connection: Session, made: Sequence[Settlement], **more: Any) -> set[int]:
        tries.append(made)
        if len(tries) > 1:
            return settle(connection, made, **more)
        if told:
            raise psycopg.OperationalError("the answer is lost")
        store_late(made)
        return settle(connection, made, **more)

    def ask_early(connection: Session, made: Sequence[Settlement]) -> set[int]:
        if not told:
            return set()
        found = committed(connection, made)
        store_late(made)
        return found

    monkeypatch.setattr(child_module, "settle", settle_first)
    monkeypatch.setattr(child_module, "committed", ask_early)
    house.shift(child)

    assert len(tries) == 1 + steps
    assert set(count.times.values()) == {1}
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert [house.stage.attempts(run) for run in runs] == [[], [], []]
    assert child.slot.refused == 0


def test_the_answer_to_the_commit_of_a_failure_is_lost(house: House, proxy: Proxy) -> None:
    """F20: the attempt is stored once, and is no stale write."""
    pipeline = Declaration("p", input=Number, retry=Retry(delays=["1h"]))

    @pipeline.step
    def a(input: Number) -> int:
        proxy.armed.set()
        raise LookupError("no")

    (run,) = house.enqueue(pipeline)
    child = house.child(url=proxy.url)
    house.work(child)

    assert proxy.cuts == 1
    assert house.stage.attempts(run) == [("a", 1, "failed")]
    assert house.status(run) == "waiting"
    assert child.slot.refused == 0


def test_what_a_claim_took_whose_answer_was_lost_is_not_held_for_ever(
    house: House, proxy: Proxy, count: Count
) -> None:
    """G5: nobody renews a lease on work that the child does not know of."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        return count(input.n)

    (run,) = house.enqueue(pipeline)
    child = house.child(url=proxy.url)
    child.claim([])
    holder = child.slot.holder
    proxy.armed.set()
    with pytest.raises(Unavailable):
        child.claim(["default"])
    assert len(held_by(house.stage.connection, holder)) == 1

    # The supervisor renews what the slots name; this child may never be given a shift again.
    assert child.slot.holder == 0
    # If it is, in time, it executes what it took.
    assert house.shift(child) == 1
    assert child.slot.holder == holder
    assert house.status(run) == "succeeded"


def test_a_lost_claim_whose_lease_ran_out_is_rescued(house: House, proxy: Proxy) -> None:
    """G5: the child starts anew under another holder."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        return 1

    (run,) = house.enqueue(pipeline)
    child = house.child(url=proxy.url)
    child.claim([])
    holder = child.slot.holder
    proxy.armed.set()
    with pytest.raises(Unavailable):
        child.claim(["default"])
    child.slot.lease_until_ns = 0
    house.stage.connection.execute("UPDATE taskplatform.holders SET lease_until = '-infinity'")

    assert house.shift(child) == 0
    assert child.slot.holder not in (0, holder)
    for loss in lost_holders(house.stage.connection):
        house.rescuer.rescue(house.stage.connection, loss)
    house.work(child)
    assert house.status(run) == "succeeded"


def test_the_database_is_lost_while_a_grant_is_asked_for(house: House, count: Count) -> None:
    """G5, F38: the body has not started: the work goes back, and is executed once."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        return count(("a", input.n))

    @pipeline.step(throttle=Throttle("api", 10, "1m"))
    def b(input: Number) -> int:
        return count(("b", input.n))

    runs = house.enqueue(pipeline, 3)
    child = house.child("a", "b")
    assert house.shift(child) == 3
    claimed, _ = child.claim(["default"])
    child.remember(claimed)
    assert [one.step for one in claimed] == ["b"] * 3
    house.kill_connection(child)

    Batch(child, house.rung.append).execute(claimed)

    assert held_by(house.stage.connection, child.slot.holder) == []
    house.work(child)
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert set(count.times.values()) == {1}
    assert not house.stage.wrong()


def test_a_database_that_only_reads_for_a_while_loses_no_result(house: House, count: Count) -> None:
    """F22: a fail-over leaves a session on what is read-only now: as good as away."""
    pipeline = Declaration("p", input=Number)
    child = house.child("a")

    @pipeline.step
    def a(input: Number) -> int:
        if input.n == 1:
            child.connection.execute("SET default_transaction_read_only = on")
        return count(input.n)

    runs = house.enqueue(pipeline, 3)
    house.work(child)

    assert {house.status(run) for run in runs} == {"succeeded"}
    assert set(count.times.values()) == {1}
    assert house.stage.value("SELECT count(*) FROM taskplatform.step_attempts") == 0
