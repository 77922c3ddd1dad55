"""The connection of transactional bodies: their SQL and their step's result are one transaction."""

from contextlib import suppress
from typing import Any, NoReturn

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from taskplatform.errors import Unavailable
from taskplatform.storage.connection import PINS, SOCKET, first_line
from taskplatform.storage.settle import committed, settle
from taskplatform.storage.settle_rows import encode
from taskplatform.storage.settle_sql import LOCK_WORK
from taskplatform.storage.settlement import Settlement
from taskplatform.storage.urls import libpq_url

# What an earlier body has set for its session is not for this one. A body that ends the transaction
# by a statement of its own takes the savepoint with it.
_BEGIN = """
RESET ALL; RESET ROLE; SET LOCAL statement_timeout = {statement};
SET LOCAL lock_timeout = {lock}; SET LOCAL idle_in_transaction_session_timeout = {idle};
SAVEPOINT taskplatform_body
"""
_END = "; ".join(
    [
        "RELEASE SAVEPOINT taskplatform_body",
        "SET LOCAL ROLE NONE",
        "SET LOCAL statement_timeout = '5s'",
        "SET LOCAL lock_timeout = '2s'",
        *(f"SET LOCAL {name} = {value}" for name, value in PINS.items()),
    ]
)
_ENDED_BY_BODY = (
    psycopg.errors.InvalidSavepointSpecification,
    psycopg.errors.NoActiveSqlTransaction,
)
# Beyond the time limit, which speaks first where it can.
_STATEMENT_GRACE, _IDLE_GRACE = 1.0, 3.0


class CommitInDoubt(Exception):
    """The connection broke before the answer to the COMMIT came."""


class BodyConnection(psycopg.Connection[Any]):
    """A psycopg connection whose transaction is not the body's to end."""

    @property
    def idle(self) -> bool:
        """Whether it is open and in no transaction."""
        return not self.closed and self.info.transaction_status == TransactionStatus.IDLE

    def begin(self, seconds: float) -> None:
        """Start the transaction of a body that may take so long."""
        self.row_factory, self.cursor_factory = tuple_row, psycopg.Cursor
        statement, idle = (int((seconds + more) * 1000) for more in (_STATEMENT_GRACE, _IDLE_GRACE))
        self._all(_BEGIN.format(statement=statement, lock=int(seconds * 1000) or 1, idle=idle))

    def settle(self, settlement: Settlement, *, worker: str) -> bool:
        """Commit what the body wrote together with its step's result; False if that is refused.

        Without a commit all is rolled back. Raises CommitInDoubt, and psycopg.Error for what the
        database refuses to store.
        """
        self.row_factory, self.cursor_factory = tuple_row, psycopg.Cursor
        try:
            self._all(_END)
        except _ENDED_BY_BODY:
            raise psycopg.ProgrammingError(
                "the body ended its transaction itself, so the result could not be part of it"
            ) from None
        if settlement.work_id not in settle(self, [settlement], worker=worker):
            self.take_back()
            return False
        try:
            super().commit()
        except psycopg.Error as error:
            if self.closed:
                raise CommitInDoubt from error
            raise
        return True

    def take_back(self) -> None:
        """Roll back what the body wrote; the connection is closed if that is not certain."""
        try:
            super().rollback()
        except psycopg.Error:
            self.discard()

    def discard(self) -> None:
        """Close the connection, whatever it is doing."""
        if self.info.transaction_status == TransactionStatus.ACTIVE:
            # The server would go on with the statement and keep its locks.
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=1)
        super().close()

    def commit(self) -> NoReturn:
        """Not the body's to call."""
        raise _not_yours("commit()")

    def rollback(self) -> NoReturn:
        """Not the body's to call."""
        raise _not_yours("rollback()")

    def close(self) -> NoReturn:
        """Not the body's to call."""
        raise _not_yours("close()")

    def __enter__(self) -> NoReturn:
        raise _not_yours("a with block of the connection")

    def _all(self, statements: str) -> None:
        # Several statements at once cannot be prepared.
        self.execute(statements.encode(), prepare=False)


def connect_body(url: str, name: str) -> BodyConnection:
    """Open a connection as a user's own would be, but for its end. Raises Unavailable."""
    try:
        return BodyConnection.connect(libpq_url(url), application_name=name, **SOCKET)
    except psycopg.OperationalError as error:
        raise Unavailable(f"database unavailable: {first_line(error)}") from error


def was_committed(connection: psycopg.Connection[Any], settlement: Settlement) -> bool:
    """Tell whether a settlement whose COMMIT had no answer is stored, for certain.

    The lock waits for a commit that is still under way.
    """
    held = {"work_id": settlement.work_id, "epoch": settlement.epoch, "expected": None}
    with connection.transaction():
        connection.execute(LOCK_WORK, (encode([held]),))
        return bool(committed(connection, [settlement]))


def _not_yours(what: str) -> psycopg.ProgrammingError:
    return psycopg.ProgrammingError(
        f"{what} is not for a transactional step: what it writes is committed together with its "
        "result, and rolled back if it raises; connection.transaction() makes savepoints"
    )
