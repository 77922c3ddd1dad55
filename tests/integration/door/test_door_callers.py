"""A run enqueued in the caller's own transaction is a part of it, and nothing more.

`enqueue(connection=)` with psycopg sync and async, SQLAlchemy Connection, Session and async ones:
one conformance test over all six.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.client.reading import get_run, list_runs
from taskplatform.errors import (
    KeyBusy,
    NotCommitted,
    RequestIdReused,
    RunNotFound,
    UnusableConnection,
)
from taskplatform.storage.connection import Session
from tests.integration.door.callers import KINDS, Caller

Orders = Pipeline[Any]
Opens = Callable[..., AbstractContextManager[Caller]]


@pytest.fixture(params=KINDS)
def opens(request: pytest.FixtureRequest) -> Opens:
    """Opens a connection of one of the six kinds."""
    return KINDS[request.param]


@pytest.fixture
def caller(opens: Opens, database_url: str, connection: Session) -> Iterator[Caller]:
    """A connection of the application's, which has a table of its own."""
    connection.execute("CREATE TABLE orders (number text)")
    with opens(database_url, autocommit=False) as one:
        yield one


def rows(connection: Session) -> list[str]:
    """The committed rows of the application's table."""
    return [row[0] for row in connection.execute("SELECT number FROM orders ORDER BY number")]


def test_a_run_is_there_when_the_caller_commits(
    caller: Caller, orders: Orders, connection: Session, worker: Any
) -> None:
    """Enqueue in a transaction that commits: the run can be claimed at once."""
    caller.execute("INSERT INTO orders VALUES ('1')")
    run = caller.enqueue(orders, {"number": "1"})
    assert run.status == "queued"
    assert list_runs() == []

    caller.commit()

    assert rows(connection) == ["1"]
    assert worker.claim(run.id).run_id == run.id
    assert run.refresh().status == "running"


def test_a_run_is_not_there_when_the_caller_rolls_back(
    caller: Caller, orders: Orders, connection: Session
) -> None:
    """Enqueue in a transaction that rolls back: no run, and its key is free."""
    caller.execute("INSERT INTO orders VALUES ('1')")
    run = caller.enqueue(orders, {"number": "1"})

    caller.rollback()

    assert (rows(connection), list_runs()) == ([], [])
    with pytest.raises(RunNotFound, match="rolled back"):
        run.refresh()
    assert orders.enqueue({"number": "1"}).id != run.id


def test_enqueue_may_be_the_first_thing_in_a_transaction(caller: Caller, orders: Orders) -> None:
    """It begins the transaction as any statement does, and the commit is the caller's."""
    run = caller.enqueue(orders, {"number": "1"})
    with pytest.raises(RunNotFound):
        get_run(run.id)

    caller.commit()

    assert get_run(run.id).status == "queued"


def test_a_conflict_of_keys_gives_the_owner_and_the_transaction_goes_on(
    caller: Caller, orders: Orders, connection: Session
) -> None:
    """A conflict of keys inside: the caller's transaction goes on."""
    owner = orders.enqueue({"number": "1"})
    caller.execute("INSERT INTO orders VALUES ('1')")

    assert caller.enqueue(orders, {"number": "1"}).id == owner.id
    mine = caller.enqueue(orders, {"number": "2"})
    assert caller.enqueue(orders, {"number": "2"}).id == mine.id
    caller.execute("INSERT INTO orders VALUES ('2')")
    caller.commit()

    assert rows(connection) == ["1", "2"]
    assert {run.id for run in list_runs()} == {owner.id, mine.id}


def test_a_request_id_with_another_input_is_an_error_and_the_transaction_goes_on(
    caller: Caller, orders: Orders, connection: Session
) -> None:
    """RequestIdReused never aborts the caller's transaction; the same input is no error."""
    first = orders.enqueue({"number": "1"}, request_id="r")
    caller.execute("INSERT INTO orders VALUES ('1')")

    with pytest.raises(RequestIdReused, match="'r'"):
        caller.enqueue(orders, {"number": "2"}, request_id="r")
    assert caller.enqueue(orders, {"number": "1"}, request_id="r").id == first.id
    caller.execute("INSERT INTO orders VALUES ('2')")
    caller.commit()

    assert rows(connection) == ["1", "2"]
    assert [run.id for run in list_runs()] == [first.id]


def test_waiting_before_the_commit_is_an_error_that_says_so(caller: Caller, orders: Orders) -> None:
    """wait and await_ before the commit are an error; after it they wait."""
    run = caller.enqueue(orders, {"number": "1"})

    with pytest.raises(NotCommitted, match="commit"):
        caller.wait(run, 5)
    with pytest.raises(NotCommitted):
        run.view()
    caller.commit()

    with pytest.raises(TimeoutError):
        caller.wait(run, 0.01)


def test_autocommit_is_an_error(opens: Opens, database_url: str, orders: Orders) -> None:
    """Autocommit mode has no transaction that the run could be a part of."""
    with opens(database_url, autocommit=True) as one:
        with pytest.raises(UnusableConnection, match="autocommit"):
            one.enqueue(orders, {"number": "1"})
        assert one.execute("SELECT 1") == [(1,)]

    assert list_runs() == []


def test_another_database_is_an_error(
    opens: Opens, empty_database_url: str, orders: Orders
) -> None:
    """Another database than the platform's is an error, and the transaction there goes on."""
    with opens(empty_database_url, autocommit=False) as one:
        one.execute("CREATE TABLE kept (number integer)")
        with pytest.raises(UnusableConnection, match="another database"):
            one.enqueue(orders, {"number": "1"})
        one.execute("INSERT INTO kept VALUES (1)")
        one.commit()
        assert one.execute("SELECT number FROM kept") == [(1,)]


def test_a_key_in_an_open_transaction_is_busy_not_a_hang(
    caller: Caller, opens: Opens, orders: Orders, database_url: str, connection: Session
) -> None:
    """A key held by an open transaction elsewhere is KeyBusy, soon, and the caller goes on."""
    caller.execute("SET LOCAL lock_timeout = '100ms'")
    caller.execute("INSERT INTO orders VALUES ('1')")
    with opens(database_url, autocommit=False) as other:
        theirs = other.enqueue(orders, {"number": "1"})
        with pytest.raises(KeyBusy, match="'1'"):
            caller.enqueue(orders, {"number": "1"})
        other.commit()

    assert caller.enqueue(orders, {"number": "1"}).id == theirs.id
    caller.commit()
    assert rows(connection) == ["1"]


def test_a_conflicting_key_in_an_open_transaction_does_not_delay_its_owners_end(
    caller: Caller, orders: Orders, worker: Any
) -> None:
    """The caller keeps no lock on a key that it did not get."""
    owner = orders.enqueue({"number": "1"})
    assert caller.enqueue(orders, {"number": "1"}).id == owner.id

    worker.connection.execute("SET lock_timeout = '1ms'")
    worker.succeed(owner.id, key_seconds=60)

    assert owner.refresh().status == "succeeded"
    caller.commit()


def test_a_key_that_was_lost_while_waiting_for_it_is_not_kept_locked(
    caller: Caller, orders: Orders, connection: Session, worker: Any, database_url: str
) -> None:
    """Also when the owner came in between the caller's look and its taking of the key."""
    pid = caller.execute("SELECT pg_backend_pid()")[0][0]
    with ThreadPoolExecutor(1) as thread:
        with psycopg.connect(database_url) as other:
            owner = orders.enqueue({"number": "1"}, connection=other)
            answer = thread.submit(caller.enqueue, orders, {"number": "1"})
            wait_until_blocked(connection, pid)
            other.commit()
        assert answer.result().id == owner.id

    worker.connection.execute("SET lock_timeout = '1ms'")
    worker.succeed(owner.id, key_seconds=60)
    caller.commit()


def test_the_callers_settings_are_left_as_they_were(
    caller: Caller, orders: Orders, connection: Session
) -> None:
    """Lock time-out and plan settings, after a run, a conflict and an error, and after commit."""
    names = "lock_timeout", "statement_timeout", "enable_seqscan", "plan_cache_mode", "jit"
    shown = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    before = caller.execute(shown)
    caller.execute("SET LOCAL lock_timeout = '7s'")
    inside = caller.execute(shown)

    caller.enqueue(orders, {"number": "1"}, request_id="r")
    caller.enqueue(orders, {"number": "1"})
    with pytest.raises(RequestIdReused):
        caller.enqueue(orders, {"number": "2"}, request_id="r")

    assert caller.execute(shown) == inside
    caller.commit()
    assert caller.execute(shown) == before


def test_savepoints_of_the_caller_take_the_run_with_them(caller: Caller, orders: Orders) -> None:
    """What is rolled back to before the enqueue has no run."""
    kept = caller.enqueue(orders, {"number": "1"})
    caller.execute("SAVEPOINT here")
    caller.enqueue(orders, {"number": "2"})
    caller.execute("ROLLBACK TO SAVEPOINT here")
    caller.commit()

    assert [run.id for run in list_runs()] == [kept.id]


def wait_until_blocked(connection: Session, pid: int) -> None:
    """Return when that session waits for a lock."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        row = connection.execute("SELECT cardinality(pg_blocking_pids(%s))", (pid,)).fetchone()
        if row and row[0]:
            return
        time.sleep(0.005)
    raise AssertionError("it does not wait")
