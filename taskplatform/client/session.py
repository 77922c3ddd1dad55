"""Where the client's statements go: the database in force, and what to do when it is away."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import psycopg
from psycopg_pool import PoolTimeout

from taskplatform.endpoints import database_url
from taskplatform.errors import Unavailable
from taskplatform.storage.connection import AWAY, Session, connect, pool

Answer = TypeVar("Answer")

_FIRST_PATIENCE = 0.5
_PATIENCE = 5.0
_TRIES = 5
_LONGEST_PAUSE = 0.8
_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


@contextmanager
def connection() -> Iterator[Session]:
    """A pooled connection of this process, in autocommit mode.

    Raises Unavailable.
    """
    url = database_url()
    connections = pool(url)
    try:
        one = connections.getconn(timeout=_FIRST_PATIENCE)
    except PoolTimeout:
        # Says why, if the server is away; else the pool is only busy.
        connect(url, pinned=False).close()
        try:
            one = connections.getconn(timeout=_PATIENCE)
        except PoolTimeout as error:
            raise Unavailable(
                f"database unavailable: no connection became free within {_PATIENCE:g} s"
            ) from error
    try:
        yield one
    finally:
        connections.putconn(one)


def call(statement: Callable[[Session, bool], Answer]) -> Answer:
    """Execute `statement(connection, again)` until it is answered.

    `again` is True once the answer to an earlier try was lost: the statement may have been
    committed. Raises Unavailable if the database is away, or does not come back within a second.
    """
    again = False
    for left in reversed(range(_TRIES)):
        try:
            with _fresh() if again else connection() as session:
                return statement(session, again)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise Unavailable(
                "the database has no tables of the platform yet: run `taskplatform db upgrade`"
            ) from error
        except psycopg.errors.QueryCanceled as error:
            raise Unavailable(f"database too slow: {_first_line(error)}") from error
        except _BUSY as error:
            if not left:
                raise Unavailable(f"database busy: {_first_line(error)}") from error
        except AWAY as error:
            if not left:
                raise Unavailable(f"database unavailable: {_first_line(error)}") from error
            again = True
        except Unavailable:
            if not (left and again):
                raise
        time.sleep(random.uniform(0.5, 1) * _LONGEST_PAUSE / 2**left)
    raise AssertionError


def _fresh() -> closing[Session]:
    # What broke one pooled connection probably broke them all.
    return closing(connect(database_url(), pinned=False))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
