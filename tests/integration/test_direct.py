"""Hot statements without a cursor say, and leave, what a cursor would."""

import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from time import sleep
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from taskplatform.storage.connection import Session, connect
from taskplatform.storage.direct import ask, ask_all

NEXT = "SELECT %(a)s::int + 1"
DIVIDED = "SELECT 1 / %(b)s::int"
NOTE = "INSERT INTO noted VALUES (%(a)s)"
NOTED = "SELECT a FROM noted ORDER BY a"
ECHO = (
    "SELECT %(text)s::text, %(texts)s::text[], %(ids)s::uuid[], %(numbers)s::bigint[],"
    " %(real)s::double precision, %(yes)s::boolean, %(no)s::int, %(json)s::json, '50%%'"
)
SLOW = "SELECT pg_sleep(%(a)s)"
LONG = "SELECT repeat(%(text)s, 1), length(%(text)s)"


@pytest.fixture(params=[False, True], ids=["direct", "by cursors"])
def session(request: pytest.FixtureRequest, database_url: str) -> Iterator[Session]:
    """A session; one of a class of its own is asked by cursors."""
    with connect(database_url) as made:
        if request.param:
            made.__class__ = type("Own", (psycopg.Connection,), {})
        made.execute("CREATE TEMPORARY TABLE noted (a int PRIMARY KEY)")
        yield made


def test_values_come_back_as_they_were_given(session: Session) -> None:
    values: dict[str, Any] = {
        "text": "a'b\"c\\d ü",
        "texts": ["", "{}", 'say "x"', "back\\slash", "comma, NULL"],
        "ids": [UUID(int=1), UUID(int=2)],
        "numbers": [1, -(2**62)],
        "real": 1e-9,
        "yes": True,
        "no": None,
        "json": b'{"a": [1]}',
    }
    values["json"] = values["json"].decode()
    ((*found, json, percent),) = ask(session, ECHO, values)
    assert found == [
        values[name] for name in ("text", "texts", "ids", "numbers", "real", "yes", "no")
    ]
    assert (json, percent) == (b'{"a": [1]}', "50%")


def test_a_trip_is_one_transaction_and_its_failure_leaves_nothing(session: Session) -> None:
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero):
            ask_all(session, [NOTE, DIVIDED, NEXT], {"a": 1, "b": 0})
        assert session.info.transaction_status == TransactionStatus.IDLE
    assert ask(session, NOTED, {}) == []
    assert ask_all(session, [NOTE, NEXT, NOTED], {"a": 1, "b": 0}) == [[], [(2,)], [(1,)]]
    with pytest.raises(psycopg.errors.UniqueViolation):
        ask(session, NOTE, {"a": 1})
    assert ask(session, NOTED, {}) == [(1,)]


def test_in_a_transaction_it_is_a_part_of_it(session: Session) -> None:
    assert ask(session, NOTED, {}) == []
    with suppress(ZeroDivisionError), session.transaction():
        ask_all(session, [NOTE, NEXT], {"a": 1})
        raise ZeroDivisionError
    # As psycopg does after a rollback, once it has prepared something itself.
    session.execute("DEALLOCATE ALL")
    assert ask_all(session, [NOTED, NEXT], {"a": 1}) == [[], [(2,)]]
    assert ask(session, NOTED, {}) == []
    with session.transaction():
        ask(session, NOTE, {"a": 2})
    with suppress(ZeroDivisionError), session.transaction():
        raise ZeroDivisionError
    assert ask_all(session, [NOTED, NEXT], {"a": 1}) == [[(2,)], [(2,)]]


def test_more_than_the_sockets_hold_is_sent_and_read(session: Session) -> None:
    text = "x" * (9 << 20)
    assert ask_all(session, [LONG, LONG], {"text": text}) == [[(text, len(text))]] * 2


def test_what_postgres_cannot_store_is_refused_before_it_is_cut(session: Session) -> None:
    with pytest.raises(psycopg.DataError, match="NUL"):
        ask(session, LONG, {"text": "a\0b"})
    assert ask(session, NEXT, {"a": 1}) == [(2,)]


@pytest.mark.parametrize("many", [1, 2])
def test_a_session_that_ends_is_closed_and_says_so(
    session: Session, database_url: str, many: int
) -> None:
    """G1: whoever asked does not know whether it was committed, and finds out."""
    ask(session, NEXT, {"a": 1})

    def end() -> None:
        sleep(0.1)
        with connect(database_url) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (session.info.backend_pid,))

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(psycopg.OperationalError):
        ask_all(session, [SLOW] * many, {"a": 30})
    thread.join()
    assert session.closed
    with pytest.raises(psycopg.OperationalError):
        ask_all(session, [NEXT] * many, {"a": 1})


def test_an_interrupted_session_is_not_used_again(database_url: str) -> None:
    """The answer that was not waited for must not be taken for that to the next question."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with connect(database_url) as session:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                ask(session, SLOW, {"a": 30})
            assert session.closed
    finally:
        signal.signal(signal.SIGALRM, before)


def test_threads_take_turns(database_url: str) -> None:
    wrong: list[object] = []
    session = connect(database_url)

    def count(first: int) -> None:
        for number in range(first, first + 200):
            if (found := ask_all(session, [NEXT] * (1 + number % 2), {"a": number})[0]) != [
                (number + 1,)
            ]:
                wrong.append(found)

    threads = [threading.Thread(target=count, args=(1000 * one,)) for one in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.close()
    assert wrong == []


def test_rows_without_columns_are_counted(session: Session) -> None:
    assert ask_all(session, ["SELECT FROM generate_series(1, 2)", NEXT], {"a": 1})[0] == [(), ()]
