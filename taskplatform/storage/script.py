"""Statements in steps: written once, executed by connections that block and by async ones.

A script yields batches of statements and is sent their rows; what goes wrong is raised in it.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.adapt import AdaptersMap
from psycopg.rows import tuple_row

Answer = TypeVar("Answer")
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and the values of its placeholders."""

    text: str
    values: Sequence[Any] | Mapping[str, Any] | None = None


Script = Generator[Sequence[Statement], list[list[Row]], Answer]

_ADAPTERS = AdaptersMap(psycopg.adapters)


# The connection is somebody else's: its adapters, rows and kind of cursor may be anything.
class _Cursor(Cursor[Row]):
    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


class _AsyncCursor(AsyncCursor[Row]):
    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


def perform(connection: Connection[Any], script: Script[Answer]) -> Answer:
    """Execute the script, each batch in one round trip; answer what it returns."""
    try:
        batch = next(script)
        while True:
            try:
                rows = _send(connection, batch)
            except BaseException as error:
                batch = script.throw(error)
            else:
                batch = script.send(rows)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


async def aperform(connection: AsyncConnection[Any], script: Script[Answer]) -> Answer:
    """Like `perform`, without blocking the event loop."""
    try:
        batch = next(script)
        while True:
            try:
                rows = await _asend(connection, batch)
            except BaseException as error:
                batch = script.throw(error)
            else:
                batch = script.send(rows)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def _send(connection: Connection[Any], batch: Sequence[Statement]) -> list[list[Row]]:
    with connection.pipeline():
        cursors = [
            _Cursor(connection, row_factory=tuple_row).execute(one.text, one.values, prepare=False)
            for one in batch
        ]
    return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


async def _asend(connection: AsyncConnection[Any], batch: Sequence[Statement]) -> list[list[Row]]:
    async with connection.pipeline():
        cursors = [
            await _AsyncCursor(connection, row_factory=tuple_row).execute(
                one.text, one.values, prepare=False
            )
            for one in batch
        ]
    return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]
