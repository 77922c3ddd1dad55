"""Connections to PostgreSQL: bounded in time, with pinned plans, and never shared over a fork."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format, TransactionStatus
from psycopg_pool import ConnectionPool

from taskplatform.errors import Unavailable
from taskplatform.storage.urls import libpq_url

Session = Connection[tuple[Any, ...]]

# Not the fault of what was asked. An InternalError is a session in a state of its own: one that
# only reads, since its server is no longer the primary, or that was idle for too long.
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)

# No statement may hold a lock, a transaction or a caller for long.
_BOUNDS = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
}
# Never-analysed tables made the planner scan the backlog; a nested loop over an index is always
# right for the hot statements, so nothing else may be considered.
PINS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
SOCKET: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}


class _RawJson(Loader):
    """Hands json columns over as the bytes that were stored."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _RawJsonBinary(_RawJson):
    format = Format.BINARY


def connect(url: str, *, pinned: bool = True, name: str = "taskplatform") -> Session:
    """Open a connection in autocommit mode; `pinned` fixes the plans of the hot statements.

    Raises Unavailable when the server cannot be reached.
    """
    try:
        connection = psycopg.connect(
            libpq_url(url), autocommit=True, application_name=name, **SOCKET
        )
        try:
            _configure(connection, pinned=pinned)
        except BaseException:
            connection.close()
            raise
    except psycopg.OperationalError as error:
        raise Unavailable(f"database unavailable: {first_line(error)}") from error
    return connection


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _configure(connection: Session, *, pinned: bool) -> None:
    values = {**_BOUNDS, **(PINS if pinned else {})}
    connection.adapters.register_loader("json", _RawJson)
    connection.adapters.register_loader("json", _RawJsonBinary)
    connection.prepare_threshold = 2
    connection.execute(
        "SELECT set_config(name, value, false)"
        " FROM unnest(%s::text[], %s::text[]) AS wanted(name, value)",
        (list(values), list(values.values())),
    )


@contextmanager
def one_trip(connection: Session) -> Iterator[None]:
    """What is executed in here is one transaction, sent without waiting for answers.

    Without BEGIN and COMMIT, what a pipeline sends up to its end is one transaction; it is sent
    and committed also when an error of ours ends it in the middle, so that takes it back here.
    Inside of a transaction it is a part of that.
    """
    alone = connection.info.transaction_status == TransactionStatus.IDLE
    try:
        with connection.pipeline():
            try:
                yield
            except BaseException:
                if alone:
                    with suppress(psycopg.Error):
                        connection.execute("ROLLBACK")
                raise
    except psycopg.Error:
        # What was to be prepared behind the failing statement is not, but psycopg believes so. It
        # forgets all that it prepared when a transaction is rolled back.
        if alone and not connection.closed:
            with suppress(psycopg.Error), connection.transaction(force_rollback=True):
                pass
        raise


_pools: dict[tuple[int, str], ConnectionPool[Session]] = {}


def pool(url: str) -> ConnectionPool[Session]:
    """The connection pool of this process for `url`; a forked child gets its own."""
    key = (os.getpid(), url)
    if (found := _pools.get(key)) is not None:
        return found
    made: ConnectionPool[Session] = ConnectionPool(
        libpq_url(url),
        kwargs={"autocommit": True, "application_name": "taskplatform client", **SOCKET},
        min_size=0,
        max_size=10,
        timeout=5,
        max_idle=60,
        # Its own pauses grow to minutes, after which a server that is back would still be missed.
        reconnect_timeout=1,
        configure=lambda connection: _configure(connection, pinned=True),
        open=False,
    )
    # Threads that ask for it at once make several, of which one is opened.
    kept = _pools.setdefault(key, made)
    kept.open()
    return kept


def close_pools() -> None:
    """Close the pools that this process opened."""
    for key in [key for key in _pools if key[0] == os.getpid()]:
        with suppress(psycopg.Error):
            _pools.pop(key).close()
