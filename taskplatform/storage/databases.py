"""Databases for tests: cloned from a migrated template, and dropped afterwards."""

from contextlib import closing
from urllib.parse import urlsplit

from psycopg import sql

from taskplatform.storage.connection import Session, connect
from taskplatform.storage.migrations import upgrade

_KNOWN = "SELECT 1 FROM pg_database WHERE datname = %s"
# Any number that nobody else takes; of the whole server, as databases are.
_LOCK = "SELECT pg_advisory_lock(7236418)"


def create(url: str, name: str, template: str | None = None) -> str:
    """Make a database on the server of `url`, a copy of `template`; return its own URL."""
    if template is None:
        _administer(url, "CREATE DATABASE {}", name)
    else:
        _administer(url, "CREATE DATABASE {} TEMPLATE {}", name, template)
    return in_database(url, name)


def drop(url: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    _administer(url, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def make_template(url: str, name: str) -> None:
    """Make a migrated database to copy, unless there is one; of several at once one does it."""
    with closing(_connect(url)) as connection:
        connection.execute(_LOCK)
        if connection.execute(_KNOWN, [name]).fetchone() is None:
            unfinished = f"{name}_unfinished"
            drop(url, unfinished)
            upgrade(create(url, unfinished))
            _administer(url, "ALTER DATABASE {} RENAME TO {}", unfinished, name)


def wait_for_disk(url: str, wanted: bool) -> None:
    """Whether commits wait until they are on disk: without it, what crashes with the machine is
    lost, and nothing with the server alone.
    """
    with closing(_connect(url)) as connection:
        connection.execute(_SYNC if wanted else _NO_SYNC)
        connection.execute(_RELOAD)


def in_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _administer(url: str, statement: str, *names: str) -> None:
    with closing(_connect(url)) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _connect(url: str) -> Session:
    # Copying a database takes longer than any statement of the platform may.
    made = connect(url, pinned=False, name="taskplatform databases")
    made.execute("SET statement_timeout = '60s'; SET lock_timeout = '60s'", prepare=False)
    return made


_ONLY_READS = "ALTER SYSTEM SET default_transaction_read_only = on"
_WRITES_AGAIN = "ALTER SYSTEM RESET default_transaction_read_only"
_RELOAD = "SELECT pg_reload_conf()"
_SYNC = "ALTER SYSTEM SET fsync = on"
_NO_SYNC = "ALTER SYSTEM SET fsync = off"
_SWITCH_WAL = "SELECT pg_switch_wal()"


def only_read(connection: Session, on: bool) -> None:
    """Let all sessions of the server only read, or write again, from their next transaction on."""
    connection.execute(_ONLY_READS if on else _WRITES_AGAIN)
    connection.execute(_RELOAD)


def switch_wal(connection: Session) -> None:
    """Let the server begin its next file of the log."""
    connection.execute(_SWITCH_WAL)


_END_SESSIONS = """
WITH chosen AS MATERIALIZED (
  SELECT pid, client_port FROM pg_stat_activity
  WHERE application_name LIKE 'taskplatform%%' AND datname = current_database()
    AND pid <> pg_backend_pid()
  ORDER BY random() LIMIT %s
)
SELECT client_port FROM chosen WHERE pg_terminate_backend(pid)
"""


def end_sessions(connection: Session, many: int) -> list[int]:
    """End up to so many of the platform's sessions, whichever; from which ports they came."""
    return [port for (port,) in connection.execute(_END_SESSIONS, (many,))]
