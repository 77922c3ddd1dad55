"""A session that sends one statement at a time, and halts before the one that it was told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
from psycopg.pq import TransactionStatus

from taskplatform.storage.connection import connect

PATIENCE = 30.0


class Killed(Exception):
    """The process died here."""


class _Cursor(psycopg.Cursor[Any]):
    def execute(self, *args: Any, **options: Any) -> "_Cursor":
        assert isinstance(self.connection, Stepwise)
        self.connection.before_statement()
        return super().execute(*args, **options)


class Stepwise(psycopg.Connection[Any]):
    """What storage sends in a pipeline is here a transaction of single statements.

    It locks, sees and commits the same, and each statement has ended before the next is sent.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = _Cursor
        self.arrived = threading.Event()
        self._go = threading.Event()
        self._trip = False
        self.go_on_freely()

    @classmethod
    def open(cls, url: str) -> "Stepwise":
        """A session like those of the platform."""
        with patch.object(psycopg, "connect", cls.connect):
            made = connect(url)
        assert isinstance(made, cls)
        return made

    def go_on_freely(self) -> None:
        """Halt nowhere."""
        self._halt_at, self.count, self._dies, self.halted = 0, 0, False, False

    def halt(self, before: int, *, dies: bool) -> None:
        """Halt before the statement, or commit, of that number; when it may go on, it `dies`."""
        self.go_on_freely()
        self._halt_at, self._dies = before, dies
        self.arrived.clear()
        self._go.clear()

    def let_go(self) -> None:
        """Go on from where it halts."""
        self._go.set()

    def before_statement(self) -> None:
        """Halt here if it was told so; begin the transaction that a pipeline would be."""
        self._boundary()
        if self._trip and self._is(TransactionStatus.IDLE):
            self.pgconn.exec_(b"BEGIN")

    def _is(self, status: TransactionStatus) -> bool:
        return self.info.transaction_status == status

    def _boundary(self) -> None:
        self.count += 1
        if self.count != self._halt_at:
            return
        self.halted = True
        self.arrived.set()
        assert self._go.wait(PATIENCE)
        if self._dies:
            raise Killed

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """The implicit transaction of a pipeline, or a part of the one that is open."""
        if self._trip or not self._is(TransactionStatus.IDLE):
            yield
            return
        self._trip = True
        try:
            yield
            if self._is(TransactionStatus.INTRANS):
                self._boundary()
                self.pgconn.exec_(b"COMMIT")
        finally:
            self._trip = False
            if not self._is(TransactionStatus.IDLE):
                self.pgconn.exec_(b"ROLLBACK")

    @contextmanager
    def transaction(self, *args: Any, **options: Any) -> Iterator[psycopg.Transaction]:
        """A transaction, with a halt before its commit."""
        trip, self._trip = self._trip, False
        try:
            with super().transaction(*args, **options) as made:
                yield made
                self._boundary()
        finally:
            self._trip = trip
