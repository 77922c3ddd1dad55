"""Whose connection it is: the psycopg connection under what a caller gave, and its transaction."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from taskplatform.errors import UnusableConnection

_KINDS = (
    "give a Connection of psycopg 3, or a Connection or Session of SQLAlchemy on it; to aenqueue, "
    "one of their async forms"
)
# By name: whoever gives an object of SQLAlchemy has loaded it, and nobody else should pay for it.
_ALCHEMY = "taskplatform.storage.alchemy"

Connection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
AfterCommit = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection in a transaction of the caller's; `after_commit` if it can tell of that."""

    connection: psycopg.Connection[Any]
    after_commit: AfterCommit | None = None


@dataclass(frozen=True, slots=True)
class AsyncCaller:
    """The same, to be awaited."""

    connection: psycopg.AsyncConnection[Any]
    after_commit: AfterCommit | None = None


def caller(given: object) -> Caller:
    """The connection that `given` stands for; a transaction is begun as its first statement would.

    Raises UnusableConnection: of no known kind, in autocommit mode, closed, or in a failed
    transaction.
    """
    found: Any = importlib.import_module(_ALCHEMY).caller(given) if _is_alchemy(given) else None
    connection = given if found is None else found.connection
    if isinstance(connection, psycopg.AsyncConnection):
        raise UnusableConnection("the connection is an async one: await aenqueue(...)")
    if not isinstance(connection, psycopg.Connection):
        raise _unknown(connection)
    if not connection.closed and _may_lag(connection):
        with connection.pipeline():
            pass
    _check(connection)
    return found or Caller(connection)


async def async_caller(given: object) -> AsyncCaller:
    """Like `caller`, for async connections and sessions."""
    found: Any = None
    if _is_alchemy(given):
        found = await importlib.import_module(_ALCHEMY).async_caller(given)
    connection = given if found is None else found.connection
    if isinstance(connection, psycopg.Connection):
        raise UnusableConnection("the connection is not an async one: call enqueue(...)")
    if not isinstance(connection, psycopg.AsyncConnection):
        raise _unknown(connection)
    if not connection.closed and _may_lag(connection):
        async with connection.pipeline():
            pass
    _check(connection)
    return found or AsyncCaller(connection)


def is_open(connection: Connection) -> bool:
    """Whether the connection is in a transaction."""
    return not connection.closed and (connection.info.transaction_status != TransactionStatus.IDLE)


def _is_alchemy(given: object) -> bool:
    return any(base.__module__.partition(".")[0] == "sqlalchemy" for base in type(given).__mro__)


def _may_lag(connection: Connection) -> bool:
    # In a pipeline of the caller's, what was sent is not known to have happened; one within it
    # waits for that.
    return connection.pgconn.pipeline_status != PipelineStatus.OFF


def _check(connection: Connection) -> None:
    if connection.closed:
        raise UnusableConnection("the connection is closed")
    status = connection.info.transaction_status
    if status == TransactionStatus.INERROR:
        raise UnusableConnection("the transaction has failed: roll it back first")
    if connection.autocommit and status == TransactionStatus.IDLE:
        raise UnusableConnection(
            "the connection is in autocommit mode, so there is no transaction that the run could "
            "be a part of: begin one, or leave connection= out"
        )


def _unknown(found: object) -> UnusableConnection:
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    return UnusableConnection(f"connection= is a {kind}: {_KINDS}")
