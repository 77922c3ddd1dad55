"""Store new runs: set-based, durable when it returns, safe to repeat with the same ids."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Cursor
from psycopg.pq import TransactionStatus

from taskplatform.errors import Conflict, KeyBusy, RequestIdReused
from taskplatform.storage import keys
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.new_run import NewRun, insert

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The run that stands for a row: the new one, or the one that was there before."""

    id: UUID
    status: str
    created: bool


# A request id decides before a key does, and the row's own run (stored by an earlier call whose
# answer was lost) before the key's present owner. Row by row, so that no plan can be a bad one.
_FIND = """
SELECT given.id, found.id, found.status, found.other_input
FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[])
     AS given (id, pipeline, key, request_id, input)
CROSS JOIN LATERAL (
    SELECT 1 AS place, id, status, input::text <> given.input AS other_input
    FROM taskplatform.runs
    WHERE pipeline = given.pipeline AND request_id = given.request_id
    UNION ALL
    SELECT 2, id, status, false FROM taskplatform.runs WHERE id = given.id
    UNION ALL
    SELECT 3, id, status, false FROM taskplatform.runs
    WHERE id = (SELECT run_id FROM taskplatform.keys k
                WHERE k.pipeline = given.pipeline AND k.key = given.key)
    ORDER BY place LIMIT 1
) AS found
"""


def enqueue(connection: Session, rows: Sequence[NewRun], *, again: bool = False) -> list[Enqueued]:
    """Store the runs, or find those that own their keys or request ids; answer in row order.

    One transaction in one round trip; with request ids in three, since one may have to undo it.
    Inside a transaction of the caller it is a savepoint of that. `again` says that the answer to
    an earlier call with these ids was lost. Ids must be distinct and rise with the rows.

    Raises RequestIdReused (nothing is stored) and KeyBusy.
    """
    found: dict[UUID, Enqueued] = {}
    rest = list(rows)
    for _ in range(_TRIES):
        if not rest:
            return [found[row.id] for row in rows]
        found |= _repeat(connection, rest, again)
        # What is left wants a key that an earlier row of this call took and gave back, because
        # its request id was known: the next row in line takes it now.
        rest = [row for row in rest if row.id not in found]
    if not rest:
        return [found[row.id] for row in rows]
    raise Conflict(f"key {rest[0].key!r} of {rest[0].pipeline} belongs to a run that is gone")


def _repeat(connection: Session, rows: list[NewRun], again: bool) -> dict[UUID, Enqueued]:
    alone = connection.autocommit and (connection.info.transaction_status == TransactionStatus.IDLE)
    for left in reversed(range(_TRIES)):
        try:
            with _busy_keys_named(rows):
                return _transact(connection, rows, again, alone)
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            if not (alone and left):
                raise
    raise AssertionError


def _transact(
    connection: Session, rows: list[NewRun], again: bool, alone: bool
) -> dict[UUID, Enqueued]:
    if alone and not any(row.request_id for row in rows):
        with one_trip(connection):
            stored, seen = _send(connection, rows, again)
        return _answers(rows, stored, seen)
    with connection.transaction():
        with connection.pipeline():
            stored, seen = _send(connection, rows, again)
        return _answers(rows, stored, seen)


def _send(
    connection: Session, rows: list[NewRun], again: bool
) -> tuple[list[Cursor[Any]], Cursor[Any] | None]:
    wanted: dict[tuple[str, str], UUID] = {}
    for row in rows:
        if row.owned_key is not None:
            wanted.setdefault((row.pipeline, row.owned_key), row.id)
    if wanted:
        ordered = sorted(wanted.items())
        keys.take(
            connection,
            [pipeline for (pipeline, _), _ in ordered],
            [key for (_, key), _ in ordered],
            [run for _, run in ordered],
        )
    stored = insert(connection, rows)
    if wanted and (again or any(row.request_id for row in rows)):
        keys.drop_unused(connection, list(wanted.values()))
    doubtful = [row for row in rows if again or row.owned_key is not None or row.request_id]
    if not doubtful:
        return stored, None
    return stored, connection.execute(
        _FIND,
        (
            [row.id for row in doubtful],
            [row.pipeline for row in doubtful],
            [row.owned_key for row in doubtful],
            [row.request_id for row in doubtful],
            [row.input.decode() if row.request_id else None for row in doubtful],
        ),
    )


def _answers(
    rows: list[NewRun], stored: list[Cursor[Any]], seen: Cursor[Any] | None
) -> dict[UUID, Enqueued]:
    answers = {
        run: Enqueued(run, "scheduled" if later else "queued", True)
        for cursor in stored
        for run, later in cursor
    }
    for id, run, status, other_input in seen or ():
        if other_input:
            request = next(row.request_id for row in rows if row.id == id)
            raise RequestIdReused(
                f"request id {request!r} was used for run {run} with another input: "
                "nothing was enqueued"
            )
        answers[id] = Enqueued(run, status, run == id)
    return answers


@contextmanager
def _busy_keys_named(rows: Sequence[NewRun]) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        names = sorted({row.owned_key or row.request_id or "" for row in rows} - {""})
        shown = ", ".join(map(repr, names[:3])) + (", ..." if names[3:] else "")
        raise KeyBusy(
            f"an open transaction elsewhere holds a key of this call ({shown}): try again"
        ) from error
