"""Connections that are lost: before a call is sent, or when committed and not yet answered."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from taskplatform.storage import body_connection, connection


class Fate:
    """Decides by its seed which calls are lost; `rate` is the share of each kind."""

    def __init__(self, seed: int, rate: float) -> None:
        self._random = random.Random(seed)
        self._thread = threading.get_ident()
        self.rate = rate
        self.lost: Counter[str] = Counter()
        self.calls = 0

    def strikes(self, when: str) -> bool:
        """Whether this call is lost; threads of a pool are spared, since nobody orders them."""
        if threading.get_ident() != self._thread:
            return False
        self.calls += when == "before"
        hit = self._random.random() < self.rate
        self.lost[when] += hit
        return hit


class _Cursor(psycopg.Cursor[Any]):
    def execute(self, *args: Any, **options: Any) -> "_Cursor":
        assert isinstance(self.connection, Lossy)
        if self.connection.piped:
            return super().execute(*args, **options)
        self.connection.suffer("before")
        super().execute(*args, **options)
        self.connection.suffer("after")
        return self


class Lossy(psycopg.Connection[Any]):
    """A connection that breaks as its fate says."""

    fate: Fate

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = _Cursor

    @property
    def piped(self) -> bool:
        """Whether a statement is only a part of what is sent together."""
        return self._pipeline is not None

    def suffer(self, when: str) -> None:
        """Break, if it is time to: after a call only if that is committed."""
        if when == "after" and self.info.transaction_status != TransactionStatus.IDLE:
            return
        if self.fate.strikes(when):
            psycopg.Connection.close(self)
            raise psycopg.OperationalError(f"the connection is lost {when} the call")

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """One call, or a part of one."""
        if self.piped:
            with super().pipeline() as made:
                yield made
            return
        self.suffer("before")
        with super().pipeline() as made:
            yield made
        self.suffer("after")

    @contextmanager
    def transaction(self, *args: Any, **options: Any) -> Iterator[psycopg.Transaction]:
        """A transaction whose commit is a call."""
        with super().transaction(*args, **options) as made:
            yield made
            if not self.piped:
                self.suffer("before")
        if not self.piped:
            self.suffer("after")

    def commit(self) -> None:
        """A call."""
        self.suffer("before")
        super().commit()
        self.suffer("after")


class _LossyBody(body_connection.BodyConnection, Lossy):
    pass


def rule(monkeypatch: pytest.MonkeyPatch, fate: Fate) -> None:
    """Let all connections that the platform opens from now on be under this fate."""

    class Ruled(ConnectionPool[Any]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, connection_class=Lossy, **options)

    monkeypatch.setattr(Lossy, "fate", fate, raising=False)
    monkeypatch.setattr(psycopg, "connect", Lossy.connect)
    monkeypatch.setattr(connection, "ConnectionPool", Ruled)
    monkeypatch.setattr(body_connection, "BodyConnection", _LossyBody)
