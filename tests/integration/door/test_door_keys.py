"""Q14: at most one active run owns a key, whoever asks and whenever."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from taskplatform.client.pipeline import Pipeline, enqueue_many
from taskplatform.client.reading import list_runs
from taskplatform.core.ids import uuid7
from taskplatform.errors import KeyBusy, RequestIdReused
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.testing.clock import advance

Orders = Pipeline[Any]


def new(key: str | None = None, **values: Any) -> NewRun:
    return NewRun(
        id=uuid7(),
        pipeline="orders",
        first_step="check",
        queue="taskplatform",
        input=b'{"number":"1"}',
        key=key,
        **values,
    )


def test_an_active_run_answers_for_its_key(orders: Orders, worker: Any) -> None:
    """Q14: also while it executes."""
    first = orders.enqueue({"number": "1"})
    assert orders.enqueue({"number": "1", "amount": 2}).id == first.id

    worker.claim(first.id)

    again = orders.enqueue({"number": "1"})
    assert (again.id, again.status) == (first.id, "running")
    assert orders.enqueue({"number": "2"}).id != first.id


@pytest.mark.parametrize("end", ["succeed", "break_down"])
def test_a_finished_run_answers_within_the_window_only(
    orders: Orders, worker: Any, end: str
) -> None:
    """Q14: the window is exact, by the database's clock."""
    first = orders.enqueue({"number": "1"})
    getattr(worker, end)(first.id, key_seconds=3600)

    advance(3590)
    assert orders.enqueue({"number": "1"}).id == first.id
    advance(10)
    second = orders.enqueue({"number": "1"})

    assert second.id != first.id
    assert second.status == "queued"
    assert orders.enqueue({"number": "1"}).id == second.id


def test_without_a_window_the_key_is_free_at_the_end(orders: Orders, worker: Any) -> None:
    """Q14."""
    first = orders.enqueue({"number": "1"})
    worker.succeed(first.id)

    assert orders.enqueue({"number": "1"}).id != first.id


def test_cancelling_frees_the_key(orders: Orders) -> None:
    """Q14."""
    first = orders.enqueue({"number": "1"})
    assert first.cancel()

    assert orders.enqueue({"number": "1"}).id != first.id


def test_forced_and_keyless_runs_own_no_key(orders: Orders) -> None:
    """Q14: force overrides, by argument or by the input; the owner stays the owner."""
    first = orders.enqueue({"number": "1"})
    others = [
        orders.enqueue({"number": "1"}, force=True),
        orders.enqueue({"number": "1", "again": True}),
        orders.enqueue({"number": "1"}, key=None),
    ]

    assert len({first.id, *(one.id for one in others)}) == 4
    assert orders.enqueue({"number": "1"}).id == first.id
    assert orders.enqueue({"number": "1", "again": True}, force=False).id == first.id
    assert len(list_runs(key="1")) == 3


def test_fifty_at_once_make_one_run(orders: Orders, rung: Counter[str]) -> None:
    """Q14, F37: 50 clients, one key."""
    start = threading.Barrier(50)

    def one(_: int) -> Any:
        start.wait()
        return orders.enqueue({"number": "1"}).id

    with ThreadPoolExecutor(50) as threads:
        ids = set(threads.map(one, range(50)))

    assert len(ids) == 1
    assert len(list_runs()) == 1


def test_a_batch_with_one_key_twice_makes_one_run(orders: Orders) -> None:
    """Q14: the first wins, and answers come in input order."""
    numbers = ["1", "2", "1", "3", "2"]
    runs = enqueue_many(orders, [{"number": number} for number in numbers])

    first = {number: runs[numbers.index(number)].id for number in numbers}
    assert [run.id for run in runs] == [first[number] for number in numbers]
    assert len(set(first.values())) == 3


def test_the_loser_waits_for_the_open_transaction_and_gets_its_run(
    connection: Session, sessions: Callable[[], Session], blocked: Any
) -> None:
    """Q14: two sessions interleaved; the loser's later statements see the winner's rows."""
    mine, yours = new("1"), new("1")
    with ThreadPoolExecutor(1) as thread, connection.transaction():
        enqueue(connection, [mine])
        other = sessions()
        answer = thread.submit(enqueue, other, [yours])
        blocked(connection, other)
    (got,) = answer.result()

    assert (got.id, got.created) == (mine.id, False)


def test_a_key_that_was_rolled_back_goes_to_the_next(
    connection: Session, sessions: Callable[[], Session], blocked: Any
) -> None:
    """Q14: the winner's run never existed."""
    mine, yours = new("1"), new("1")
    with ThreadPoolExecutor(1) as thread:
        with connection.transaction(force_rollback=True):
            enqueue(connection, [mine])
            other = sessions()
            answer = thread.submit(enqueue, other, [yours])
            blocked(connection, other)
        (got,) = answer.result()

    assert (got.id, got.created) == (yours.id, True)


def test_one_of_two_takes_over_an_expired_key(
    connection: Session, sessions: Callable[[], Session], blocked: Any, orders: Orders, worker: Any
) -> None:
    """Q14: the take-over is decided under the row's lock, not by what was read before it."""
    old = orders.enqueue({"number": "1"})
    worker.succeed(old.id, key_seconds=0)
    mine, yours = new("1"), new("1")
    with ThreadPoolExecutor(1) as thread:
        with connection.transaction():
            assert enqueue(connection, [mine])[0].created
            other = sessions()
            answer = thread.submit(enqueue, other, [yours])
            blocked(connection, other)
        (got,) = answer.result()

    assert (got.id, got.created) == (mine.id, False)


def test_a_key_in_a_long_transaction_is_busy_not_a_hang(
    connection: Session, sessions: Callable[[], Session]
) -> None:
    """Q20: the caller is told within the lock's time-out."""
    other = sessions()
    other.execute("SET lock_timeout = '100ms'")
    with connection.transaction():
        enqueue(connection, [new("1")])
        with pytest.raises(KeyBusy, match="'1'"):
            enqueue(other, [new("1")])

    assert len(enqueue(other, [new("1")])) == 1


def test_batches_in_opposite_order_do_not_deadlock(sessions: Callable[[], Session]) -> None:
    """Q14: keys are taken in one order."""
    keys = [str(number) for number in range(40)]

    def batch(connection: Session, ordered: list[str]) -> None:
        for _ in range(5):
            enqueue(connection, [new(key) for key in ordered])

    with ThreadPoolExecutor(2) as threads:
        for job in [
            threads.submit(batch, sessions(), keys),
            threads.submit(batch, sessions(), keys[::-1]),
        ]:
            job.result()

    rows = sessions().execute("SELECT count(*) FROM taskplatform.runs").fetchone()
    assert rows == (40,)


def test_a_request_id_gives_the_first_run_for_ever(orders: Orders, worker: Any) -> None:
    """Q14, L12: also when it has ended and its key is free."""
    first = orders.enqueue({"number": "1"}, request_id="r")
    assert orders.enqueue({"number": "1"}, request_id="r").id == first.id

    worker.succeed(first.id)

    again = orders.enqueue({"number": "1"}, request_id="r")
    assert (again.id, again.status) == (first.id, "succeeded")
    # The key that this call took in vain is free again.
    assert orders.enqueue({"number": "1"}).id != first.id


def test_a_request_id_with_another_input_is_an_error_that_stores_nothing(
    connection: Session, orders: Orders
) -> None:
    """Q14: the other rows of the call neither."""
    orders.enqueue({"number": "1"}, request_id="r")

    with pytest.raises(RequestIdReused, match="'r'"):
        orders.enqueue({"number": "2"}, request_id="r")
    rows = [new("9"), new(request_id="r"), new("8", request_id="s")]
    with pytest.raises(RequestIdReused):
        enqueue(connection, rows)

    assert len(list_runs()) == 1
    assert connection.execute("SELECT key FROM taskplatform.keys").fetchall() == [("1",)]


def test_a_request_id_twice_at_once_makes_one_run(
    connection: Session, sessions: Callable[[], Session], blocked: Any
) -> None:
    """Q14: with keys that differ, the key taken in vain is given back."""
    mine, yours = new("1", request_id="r"), new("2", request_id="r")
    with ThreadPoolExecutor(1) as thread:
        with connection.transaction():
            enqueue(connection, [mine])
            other = sessions()
            answer = thread.submit(enqueue, other, [yours])
            blocked(connection, other)
        (got,) = answer.result()

    assert (got.id, got.created) == (mine.id, False)
    assert connection.execute("SELECT key FROM taskplatform.keys").fetchall() == [("1",)]


def test_the_next_in_line_takes_a_key_that_was_given_back(connection: Session) -> None:
    """Q14: in one call, a known request id leaves its key to the row after it."""
    (known,) = enqueue(connection, [new(request_id="r")])
    rows = [new("1", request_id="r"), new("1")]

    found = enqueue(connection, rows)

    assert [one.id for one in found] == [known.id, rows[1].id]
    assert enqueue(connection, [new("1")])[0].id == rows[1].id


def test_the_same_ids_again_change_nothing(connection: Session, worker: Any) -> None:
    """L12: the answer to COMMIT was lost, and the run has gone on since."""
    rows = [new("1"), new(), new("2", request_id="r")]
    first = enqueue(connection, rows)
    worker.succeed(rows[0].id)
    enqueue(connection, [new("1")])

    again = enqueue(connection, rows, again=True)

    assert [one.id for one in again] == [one.id for one in first]
    assert [one.status for one in again] == ["succeeded", "queued", "queued"]
    assert connection.execute("SELECT count(*) FROM taskplatform.runs").fetchone() == (4,)
    assert connection.execute("SELECT count(*) FROM taskplatform.work").fetchone() == (3,)


def test_an_error_in_a_callers_transaction_leaves_it_usable(database_url: str) -> None:
    """Q14: a savepoint is undone, not the caller's own work."""
    with closing(connect(database_url)) as connection, connection.transaction():
        enqueue(connection, [new(request_id="r")])
        other = new(request_id="r")
        with pytest.raises(RequestIdReused):
            enqueue(connection, [NewRun(**{**fields(other), "input": b'{"number":"2"}'})])
        assert enqueue(connection, [new("1")])[0].created


def fields(row: NewRun) -> dict[str, Any]:
    return {name: getattr(row, name) for name in NewRun.__dataclass_fields__}
