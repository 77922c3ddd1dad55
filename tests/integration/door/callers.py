"""The six kinds of connection that a run can be enqueued in, behind one face.

Each opens a transaction of the caller's on a database, executes a statement of the caller's in
it, enqueues in it, and commits it or rolls it back.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.orm import Session

from taskplatform.client.pipeline import Pipeline
from taskplatform.client.run import Run

Answer = TypeVar("Answer")


class Caller:
    """An application's connection; what it does is done at once."""

    def __init__(self, connection: Any, run: Callable[[Any], Any]) -> None:
        self.connection = connection
        self._run = run
        self.is_async = isinstance(
            connection, psycopg.AsyncConnection | AsyncConnection | AsyncSession
        )

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement of the application's own."""
        alchemy = not isinstance(self.connection, psycopg.Connection | psycopg.AsyncConnection)
        cursor = self._run(self.connection.execute(text(statement) if alchemy else statement))
        if alchemy:
            return [tuple(row) for row in cursor] if cursor.returns_rows else []
        return self._run(cursor.fetchall()) if cursor.description else []

    def enqueue(self, pipeline: Pipeline[Any], input: Any, **options: Any) -> Run:
        """Enqueue in the caller's transaction."""
        method = pipeline.aenqueue if self.is_async else pipeline.enqueue
        run: Run = self._run(method(input, connection=self.connection, **options))
        return run

    def wait(self, run: Run, timeout: float) -> Run:
        """Wait for the run, as this kind of application does."""
        waited: Run = self._run((run.await_ if self.is_async else run.wait)(timeout))
        return waited

    def commit(self) -> None:
        """Commit the caller's transaction."""
        self._run(self.connection.commit())

    def rollback(self) -> None:
        """Roll the caller's transaction back."""
        self._run(self.connection.rollback())


@contextmanager
def psycopg_connection(url: str, autocommit: bool) -> Iterator[Caller]:
    with psycopg.connect(url, autocommit=autocommit) as connection:
        yield Caller(connection, _same)


@contextmanager
def psycopg_async(url: str, autocommit: bool) -> Iterator[Caller]:
    with _loop() as run:
        connection = run(psycopg.AsyncConnection.connect(url, autocommit=autocommit))
        yield Caller(connection, run)
        run(connection.close())


@contextmanager
def alchemy_connection(url: str, autocommit: bool) -> Iterator[Caller]:
    with _engine(url, autocommit) as engine, engine.connect() as connection:
        yield Caller(connection, _same)


@contextmanager
def alchemy_session(url: str, autocommit: bool) -> Iterator[Caller]:
    with _engine(url, autocommit) as engine, Session(engine) as session:
        yield Caller(session, _same)


@contextmanager
def alchemy_async_connection(url: str, autocommit: bool) -> Iterator[Caller]:
    with _loop() as run, _async_engine(url, autocommit, run) as engine:
        connection = run(_entered(engine.connect()))
        yield Caller(connection, run)
        run(connection.close())


@contextmanager
def alchemy_async_session(url: str, autocommit: bool) -> Iterator[Caller]:
    with _loop() as run, _async_engine(url, autocommit, run) as engine:
        session = AsyncSession(engine)
        yield Caller(session, run)
        run(session.close())


KINDS = {
    "psycopg Connection": psycopg_connection,
    "psycopg AsyncConnection": psycopg_async,
    "SQLAlchemy Connection": alchemy_connection,
    "SQLAlchemy Session": alchemy_session,
    "SQLAlchemy AsyncConnection": alchemy_async_connection,
    "SQLAlchemy AsyncSession": alchemy_async_session,
}


def _same(value: Answer) -> Answer:
    return value


async def _entered(connection: AsyncConnection) -> AsyncConnection:
    return await connection.__aenter__()


def _of_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _level(autocommit: bool) -> dict[str, Any]:
    return {"isolation_level": "AUTOCOMMIT"} if autocommit else {}


@contextmanager
def _engine(url: str, autocommit: bool) -> Iterator[Engine]:
    engine = create_engine(_of_driver(url), **_level(autocommit))
    yield engine
    engine.dispose()


@contextmanager
def _async_engine(url: str, autocommit: bool, run: Callable[[Any], Any]) -> Iterator[AsyncEngine]:
    engine = create_async_engine(_of_driver(url), **_level(autocommit))
    yield engine
    run(engine.dispose())


@contextmanager
def _loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    with asyncio.Runner() as runner:

        def run(made: Any) -> Any:
            return runner.run(made) if asyncio.iscoroutine(made) else made

        yield run
