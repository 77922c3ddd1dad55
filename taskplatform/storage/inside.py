"""Store new runs inside somebody else's transaction, which goes on whatever becomes of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

import psycopg

from taskplatform.errors import KeyBusy, UnusableConnection
from taskplatform.storage import bursts, dedup, keys
from taskplatform.storage.connection import PINS, Session
from taskplatform.storage.known import Enqueued, created, find, known, names, wanted_keys
from taskplatform.storage.new_run import NewRun, inserts
from taskplatform.storage.script import Script, Statement

_TRIES = 5
_LOCK_TIMEOUT = "2s"


class OtherDatabase(Exception):
    """The transaction is on another database than the platform's."""


# A start of a server is told from all others by its microsecond, and a copy of a database has
# another id. Needs no privilege.
_IDENTITY = """
SELECT concat_ws('/', extract(epoch FROM pg_postmaster_start_time()),
                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                 to_regclass('taskplatform.runs')::oid)
"""

_SAVE = Statement("SAVEPOINT taskplatform_enqueue")
_UNDO = Statement("ROLLBACK TO SAVEPOINT taskplatform_enqueue")
_RELEASE = Statement("RELEASE SAVEPOINT taskplatform_enqueue")

# What was in force is read before it is changed; a shorter patience of the caller's stays.
_SET = """
WITH wanted AS MATERIALIZED (
    SELECT name, value, current_setting(name) AS old
    FROM unnest(%s::text[], %s::text[]) AS given (name, value)
)
SELECT name, old, set_config(name, CASE WHEN name = 'lock_timeout' AND old <> '0'
                                             AND old::interval < value::interval
                                        THEN old ELSE value END, true)
FROM wanted
"""
# A release keeps what was set since the savepoint.
_RESET = """
SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS old (name, value)
"""


def identity(connection: Session) -> str:
    """Which database this is, until its server is started again."""
    row = connection.execute(_IDENTITY).fetchone()
    assert row is not None
    return str(row[0])


def enqueue_inside(chunks: Sequence[Sequence[NewRun]], database: str) -> Script[list[Enqueued]]:
    """Like `enqueue`, in the caller's transaction, with one savepoint for all the chunks.

    `database` is the identity of the platform's.

    Keeps no lock on a key that it does not get: the end of the run that owns it would wait for
    the caller's transaction. So it looks before it takes, and what it took in vain it undoes.

    Raises OtherDatabase, RequestIdReused, KeyTaken, KeyBusy and UnusableConnection, with nothing
    stored and the transaction as it was.
    """
    rows = [row for chunk in chunks for row in chunk]
    kept, stands_for = zip(*(bursts.gathered(chunk) for chunk in chunks), strict=True)
    represented = {id: by for one in stands_for for id, by in one.items()}
    for _ in range(_TRIES):
        with _named(rows):
            found = yield from _attempt(kept, database)
        if all(row.id in found for chunk in kept for row in chunk):
            return bursts.scattered(rows, found, represented)
    raise KeyBusy(f"keys of this call ({names(rows)}) are changing hands: try again")


_Found = dict[UUID, Enqueued]


def _attempt(chunks: Sequence[Sequence[NewRun]], database: str) -> Script[_Found]:
    wanted = {**PINS, "lock_timeout": _LOCK_TIMEOUT}
    found: _Found = {}
    try:
        _, [[here]], settings = yield [
            _SAVE,
            Statement(_IDENTITY),
            Statement(_SET, (list(wanted), list(wanted.values()))),
        ]
        if here != database:
            raise OtherDatabase
        for chunk in chunks:
            found |= yield from _store(chunk)
            if any(row.id not in found for row in chunk):
                yield [_UNDO, _RELEASE]
                return found
    except BaseException:
        # The first error is the one to tell.
        with suppress(psycopg.Error):
            yield [_UNDO, _RELEASE]
        raise
    before = [row[0] for row in settings], [row[1] for row in settings]
    yield [Statement(_RESET, before), _RELEASE]
    return found


def _store(rows: Sequence[NewRun]) -> Script[_Found]:
    asks = dedup.asks(rows)
    found: _Found = {}
    if asks:
        # Until the caller commits nobody may have the slots that are free by this, and a lock on
        # their lines would stop all of them: a supervisor finds the room.
        found, _ = yield from dedup.before(rows, again=False)
    doubtful = [
        row for row in rows if row.id not in found and (row.owned_key is not None or row.request_id)
    ]
    if doubtful:
        [seen] = yield [find(doubtful, expired=False)]
        found |= known(rows, seen)
    rest = [row for row in rows if row.id not in found]
    if not rest:
        if asks:
            yield from dedup.after(rows, found)
        return found
    wanted = wanted_keys(rest)
    overtake = any(row.debounce for row in rest)
    before = [keys.take(wanted, overtake=overtake)] if wanted else []
    stores = inserts(rest)
    *answers, seen = yield [*before, *stores, find(rest, expired=True)]
    new = created(row for answer in answers[len(before) :] for row in answer)
    # Two rows of this call with one key are one run. Any other run that shows only now came in
    # between, and its key is locked by what was meant to take it.
    late = {id: one for id, one in known(rows, seen).items() if one.id in new}
    found |= new | late
    if asks:
        yield from dedup.after(rows, found)
    return found


@contextmanager
def _named(rows: Sequence[NewRun]) -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise KeyBusy(
            f"an open transaction elsewhere holds a key of this call ({names(rows)}): try again"
        ) from error
    except psycopg.errors.SerializationFailure as error:
        raise KeyBusy(
            f"a key of this call ({names(rows)}) was taken after the snapshot of this transaction: "
            "try again in a new one"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise UnusableConnection(
            f"the role of the connection may not store runs ({_first_line(error)}): grant it "
            "USAGE on schema taskplatform, and SELECT, INSERT and UPDATE on its tables runs, work "
            "and keys, SELECT on priorities"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
