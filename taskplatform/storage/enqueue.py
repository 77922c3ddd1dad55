"""Store new runs: set-based, durable when it returns, safe to repeat with the same ids."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Cursor
from psycopg.pq import TransactionStatus

from taskplatform.errors import Conflict, KeyBusy
from taskplatform.storage import bursts, dedup, keys, slots
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.known import Enqueued, created, find, known, names, wanted_keys
from taskplatform.storage.new_run import NewRun, insert_plain, inserts, is_plain
from taskplatform.storage.script import Statement, perform

_TRIES = 5


def enqueue(connection: Session, rows: Sequence[NewRun], *, again: bool = False) -> list[Enqueued]:
    """Store the runs, or find those that own their keys or request ids; answer in row order.

    One transaction in one round trip; with request ids in three, since one may have to undo it.
    Inside a transaction of the connection it is a savepoint of that. `again` says that the answer
    to an earlier call with these ids was lost. Ids must be distinct and rise with the rows.

    Raises RequestIdReused and KeyTaken (nothing is stored), and KeyBusy.
    """
    if len(rows) == 1 and not again and is_plain(rows[0]) and _is_alone(connection):
        with suppress(psycopg.errors.UniqueViolation):
            insert_plain(connection, rows[0])
            return [Enqueued(rows[0].id, "queued", True)]
    found: dict[UUID, Enqueued] = {}
    rest, stands_for = bursts.gathered(rows)
    for _ in range(_TRIES):
        if not rest:
            return bursts.scattered(rows, found, stands_for)
        found |= _repeat(connection, rest, again)
        # What is left wants a key that an earlier row of this call took and gave back, because
        # its request id was known: the next row in line takes it now.
        rest = [row for row in rest if row.id not in found]
    if not rest:
        return bursts.scattered(rows, found, stands_for)
    if rest[0].debounce is not None:
        raise KeyBusy(f"key {rest[0].key!r} of {rest[0].pipeline} is changing hands: try again")
    raise Conflict(f"key {rest[0].key!r} of {rest[0].pipeline} belongs to a run that is gone")


def _repeat(connection: Session, rows: list[NewRun], again: bool) -> dict[UUID, Enqueued]:
    alone = _is_alone(connection)
    for left in reversed(range(_TRIES)):
        try:
            with _busy_keys_named(rows):
                return _transact(connection, rows, again, alone)
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            if not (alone and left):
                raise
    raise AssertionError


def _is_alone(connection: Session) -> bool:
    return connection.autocommit and connection.pgconn.transaction_status == TransactionStatus.IDLE


def _transact(
    connection: Session, rows: list[NewRun], again: bool, alone: bool
) -> dict[UUID, Enqueued]:
    asks = dedup.asks(rows)
    if alone and not asks and not any(row.request_id for row in rows):
        if not again and not any(row.owned_key for row in rows):
            made = inserts(rows, new=True)
            if len(made) == 1:
                # One statement is a transaction, and a trip, by itself.
                return created(connection.execute(made[0].text, made[0].values).fetchall())
        with one_trip(connection):
            stored, seen = _send(connection, rows, again)
        return _answers(rows, stored, seen)
    with connection.transaction():
        joined, freed = perform(connection, dedup.before(rows, again=again)) if asks else ({}, [])
        rest = [row for row in rows if row.id not in joined]
        with connection.pipeline():
            stored, seen = _send(connection, rest, again)
        found = _answers(rest, stored, seen)
        if asks:
            perform(connection, dedup.after(rest, found))
        if freed and alone:
            slots.let_go(connection, slots.free(connection, (), freed, {}))
        return found | joined


def _send(
    connection: Session, rows: list[NewRun], again: bool
) -> tuple[list[Cursor[Any]], Cursor[Any] | None]:
    def execute(statement: Statement) -> Cursor[Any]:
        return connection.execute(statement.text, statement.values)

    wanted = wanted_keys(rows)
    if wanted:
        execute(keys.take(wanted, overtake=any(row.debounce for row in rows)))
    stored = [execute(statement) for statement in inserts(rows)]
    if wanted and (again or any(row.request_id for row in rows)):
        execute(keys.drop_unused(wanted.values()))
    doubtful = [row for row in rows if again or row.owned_key is not None or row.request_id]
    return stored, execute(find(doubtful, expired=True)) if doubtful else None


def _answers(
    rows: list[NewRun], stored: list[Cursor[Any]], seen: Cursor[Any] | None
) -> dict[UUID, Enqueued]:
    return created(row for cursor in stored for row in cursor) | known(rows, seen or ())


@contextmanager
def _busy_keys_named(rows: Sequence[NewRun]) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise KeyBusy(
            f"an open transaction elsewhere holds a key of this call ({names(rows)}): try again"
        ) from error
