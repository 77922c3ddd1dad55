"""Hot statements without a cursor: prepared once in a session, several of them in one round trip.

A cursor of psycopg serves any statement, and costs more CPU than the server takes for one row.
"""

import re
import select
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from psycopg import Connection
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from taskplatform.storage.connection import Session, one_trip

Row = tuple[Any, ...]

_PLACE = re.compile(r"%\((\w+)\)s")
_FINE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


def ask(connection: Session, statement: str, values: Mapping[str, Any]) -> list[Row]:
    """Execute one statement, alone or as a part of the transaction that is open.

    `%(name)s` stands for a value, whose type the server has to see by itself.
    """
    return ask_all(connection, [statement], values)[0]


def ask_all(
    connection: Session, statements: Sequence[str], values: Mapping[str, Any]
) -> list[list[Row]]:
    """Execute statements in one round trip and one transaction; the rows of each."""
    pgconn = connection.pgconn
    if (
        pgconn.transaction_status != TransactionStatus.IDLE
        or pgconn.pipeline_status != PipelineStatus.OFF
        or (line := _line(connection)) is None
    ):
        return _by_cursors(connection, statements, values)
    hot = [_hot(one) for one in statements]
    with connection.lock:
        try:
            return line.trip(hot, values)
        except psycopg.errors.InvalidSqlStatementName:
            # psycopg deallocates all that is prepared when a transaction was rolled back. Nothing
            # of this one was committed.
            line.prepared.clear()
            return line.trip(hot, values)


class _Hot:
    """A statement as the server knows it."""

    __slots__ = ("name", "places", "sql")

    def __init__(self, text: str) -> None:
        places: dict[str, int] = {}
        numbered = _PLACE.sub(
            lambda found: f"${places.setdefault(found[1], len(places) + 1)}", text
        )
        self.sql = numbered.replace("%%", "%").encode()
        self.places = tuple(places)
        # By what it is: one that is found to be prepared is this very statement.
        self.name = f"taskplatform_{sha256(self.sql).hexdigest()[:32]}".encode()


_hot = cache(_Hot)


def _by_cursors(
    connection: Session, statements: Sequence[str], values: Mapping[str, Any]
) -> list[list[Row]]:
    if len(statements) == 1:
        cursors = [connection.execute(statements[0], values)]
    else:
        with one_trip(connection):
            cursors = [connection.execute(one, values) for one in statements]
    return [cursor.fetchall() if _has_rows(cursor.pgresult) else [] for cursor in cursors]


def _has_rows(result: PGresult | None) -> bool:
    return result is not None and result.status == ExecStatus.TUPLES_OK


class _Line:
    """The raw session of one connection."""

    def __init__(self, connection: Session) -> None:
        self.prepared: set[bytes] = set()
        self._pgconn: PGconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)

    def trip(self, statements: Sequence[_Hot], values: Mapping[str, Any]) -> list[list[Row]]:
        pgconn = self._pgconn
        sent = [(one.name, [_encoded(values[place]) for place in one.places]) for one in statements]
        for one in statements:
            if one.name not in self.prepared:
                with suppress(psycopg.errors.DuplicatePreparedStatement):
                    _raise_if_failed(pgconn, pgconn.prepare(one.name, one.sql))
                self.prepared.add(one.name)
        try:
            results = self._pipeline(sent) if len(sent) > 1 else self._single(*sent[0])
        except psycopg.Error:
            raise
        except BaseException:
            # Interrupted: what comes next on it would be the answer to this.
            pgconn.finish()
            raise
        for result in results:
            _raise_if_failed(pgconn, result)
        return [self._rows(result) for result in results]

    def _single(self, name: bytes, parameters: list[bytes | None]) -> list[PGresult]:
        self._pgconn.send_query_prepared(name, parameters, None, Format.BINARY)
        results = []
        while (result := self._next()) is not None:
            results.append(result)
        return results[-1:]

    def _pipeline(self, sent: list[tuple[bytes, list[bytes | None]]]) -> list[PGresult]:
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        for name, parameters in sent:
            pgconn.send_query_prepared(name, parameters, None, Format.BINARY)
        pgconn.pipeline_sync()
        results = []
        while (result := self._next()) is None or result.status != ExecStatus.PIPELINE_SYNC:
            if result is not None:
                results.append(result)
        pgconn.exit_pipeline_mode()
        return results

    def _next(self) -> PGresult | None:
        pgconn = self._pgconn
        while pgconn.flush():
            # The server may want to be read before it reads on.
            self._poll.modify(pgconn.socket, select.POLLIN | select.POLLOUT)
            if any(event & select.POLLIN for _, event in self._poll.poll()):
                pgconn.consume_input()
            self._poll.modify(pgconn.socket, select.POLLIN)
        while pgconn.is_busy():
            self._poll.poll()
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None and pgconn.status == ConnStatus.BAD:
            raise _lost(pgconn)
        return result

    def _rows(self, result: PGresult) -> list[Row]:
        if not _has_rows(result):
            return []
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(0, result.ntuples, tuple)
        self._transformer.set_pgresult(None)
        return rows


_lines: "WeakKeyDictionary[Session, _Line | None]" = WeakKeyDictionary()


def _line(connection: Session) -> _Line | None:
    """The raw session; None if its statements have to be seen by the connection's own class."""
    try:
        return _lines[connection]
    except KeyError:
        plain = type(connection) is Connection and connection.info.encoding == "utf-8"
        made = _lines[connection] = _Line(connection) if plain else None
        return made


def _encoded(value: Any) -> bytes | None:
    """The value as text; the server knows its type."""
    kind = type(value)
    if kind is str:
        if "\0" in value:
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return value.encode()  # type: ignore[no-any-return]
    if value is None or kind is bytes:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return b"t" if value else b"f"
    if kind is list:
        return f"{{{','.join(map(_element, value))}}}".encode()
    return str(value).encode()


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, UUID | int | float):
        return str(value)
    text = _encoded(value)
    assert text is not None
    escaped = text.decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _raise_if_failed(pgconn: PGconn, result: PGresult) -> None:
    if result.status in _FINE:
        return
    if pgconn.status == ConnStatus.BAD and not result.error_field(67):
        raise _lost(pgconn)
    raise error_from_result(result)


def _lost(pgconn: PGconn) -> psycopg.OperationalError:
    return psycopg.OperationalError(pgconn.get_error_message())
