"""SQLAlchemy's connections and sessions, as callers; loaded when one is given."""

import sys
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from taskplatform.errors import UnusableConnection
from taskplatform.storage.callers import AfterCommit, AsyncCaller, Caller

_WAITING = "taskplatform.after_commit"


def caller(given: object) -> Caller:
    """The connection under a Connection or Session, whose transaction has begun.

    Raises UnusableConnection.
    """
    if isinstance(given, scoped_session):
        given = given()
    if isinstance(given, Session):
        return Caller(_driver(given.connection()), _after_commit(given))
    if isinstance(given, Connection):
        return Caller(_driver(given))
    raise UnusableConnection(
        f"connection= is a {type(given).__qualname__} of SQLAlchemy: give its Connection or "
        "Session, and await aenqueue(...) if that is an async one"
    )


async def async_caller(given: object) -> AsyncCaller:
    """The connection under an AsyncConnection or AsyncSession, whose transaction has begun.

    Raises UnusableConnection.
    """
    # Cannot be imported without greenlet, which only async users have.
    kinds: Any = sys.modules.get("sqlalchemy.ext.asyncio")
    after_commit = None
    if kinds and isinstance(given, kinds.async_scoped_session):
        given = given()
    if kinds and isinstance(given, kinds.AsyncSession):
        session: Any = given
        after_commit = _after_commit(session.sync_session)
        given = await session.connection()
    if not kinds or not isinstance(given, kinds.AsyncConnection):
        raise UnusableConnection(
            f"connection= is a {type(given).__qualname__} of SQLAlchemy: give its AsyncConnection "
            "or AsyncSession, or call enqueue(...)"
        )
    connection: Any = given
    driver = (await connection.get_raw_connection()).driver_connection
    if _begins(driver) and not connection.in_transaction():
        await connection.begin()
    return AsyncCaller(driver, after_commit)


def _driver(connection: Connection) -> Any:
    driver: Any = connection.connection.driver_connection
    if _begins(driver) and not connection.in_transaction():
        connection.begin()
    return driver


def _begins(driver: object) -> bool:
    # Else the commit() of SQLAlchemy would not commit a transaction that it does not know of.
    return isinstance(driver, psycopg.Connection | psycopg.AsyncConnection) and (
        not driver.autocommit
    )


def _after_commit(session: Session) -> AfterCommit:
    # One listener for a session, however many runs are stored in it.
    def register(tell: Callable[[], None]) -> None:
        if _WAITING not in session.info:
            session.info[_WAITING] = []
            event.listen(session, "after_commit", _told)
            event.listen(session, "after_soft_rollback", _forgotten)
        session.info[_WAITING].append(tell)

    return register


def _told(session: Session) -> None:
    # The release of a savepoint commits nothing yet.
    if not session.in_nested_transaction():
        waiting: list[Callable[[], None]] = session.info[_WAITING]
        told = waiting[:]
        waiting.clear()
        for tell in told:
            tell()


def _forgotten(session: Session, transaction: SessionTransaction) -> None:
    if not transaction.nested:
        session.info[_WAITING].clear()
