"""Runs stored in a transaction of the caller's: there if it commits, and not before."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from weakref import ref

from taskplatform.client import ringer
from taskplatform.client.session import call
from taskplatform.endpoints import database_url
from taskplatform.errors import Unavailable, UnusableConnection
from taskplatform.storage import batches, callers
from taskplatform.storage.callers import AfterCommit
from taskplatform.storage.inside import OtherDatabase, enqueue_inside, identity
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import Membership, NewRun
from taskplatform.storage.script import aperform, perform

# True while the transaction that stored a run may be open.
Open = Callable[[], bool]
Chunks = Sequence[Sequence[NewRun]]

_identities: dict[str, str] = {}


def store(given: object, chunks: Chunks) -> tuple[list[Enqueued], Open]:
    """Store the runs in the transaction of `given`, all or none.

    Raises UnusableConnection, RequestIdReused, KeyBusy and Unavailable; the transaction goes on.
    """
    caller = callers.caller(given)
    found = None
    # The server may have been started again since it was asked who it is.
    for fresh in (False, True):
        with suppress(OtherDatabase):
            found = perform(caller.connection, enqueue_inside(chunks, _platform(fresh)))
            break
    if found is None:
        raise _other()
    _ring_later(caller.after_commit, chunks, found)
    return found, _open(caller.connection)


async def astore(given: object, chunks: Chunks) -> tuple[list[Enqueued], Open]:
    """Like `store`, for async connections and sessions."""
    caller = await callers.async_caller(given)
    found = None
    for fresh in (False, True):
        database = await asyncio.to_thread(_platform, fresh)
        with suppress(OtherDatabase):
            found = await aperform(caller.connection, enqueue_inside(chunks, database))
            break
    if found is None:
        raise _other()
    _ring_later(caller.after_commit, chunks, found)
    return found, _open(caller.connection)


def _platform(fresh: bool = False) -> str:
    url = database_url()
    if fresh or url not in _identities:
        _identities[url] = call(lambda connection, _: identity(connection))
    return _identities[url]


def _other() -> UnusableConnection:
    return UnusableConnection(
        "the connection is to another database than the platform's (TASKPLATFORM_DATABASE_URL): "
        "give one to that, or leave connection= out"
    )


def _open(connection: callers.Connection) -> Open:
    # A run that is kept must not keep the connection.
    held = ref(connection)
    return lambda: (one := held()) is not None and callers.is_open(one)


def _ring_later(
    after_commit: AfterCommit | None, chunks: Chunks, found: Sequence[Enqueued]
) -> None:
    # Without a word of the commit, workers find the runs when they look.
    ready = sum(one.created and one.status == "queued" for one in found)
    full = batches.scopes(row for chunk in chunks for row in chunk)
    if after_commit is not None and (ready or full):
        after_commit(partial(_ring, chunks[0][0].queue, ready, full))


def _ring(queue: str, ready: int, full: set[Membership]) -> None:
    if ready:
        ringer.RINGER.ring(queue, ready)
    fill(full)


def fill(full: set[Membership]) -> None:
    """Start the batches that are full by what was committed."""
    if not full:
        return
    # They start when their time is over, whatever becomes of this.
    with suppress(Unavailable):
        found = call(lambda connection, _: batches.fill(connection, full))
        for queue, many in found.items():
            ringer.RINGER.ring(queue, many)
