"""The schema's migrations, run by Alembic from the repository or from the installed package."""

import time
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event, pool
from sqlalchemy.exc import OperationalError

from taskplatform.errors import Unavailable
from taskplatform.storage.backoff import Backoff
from taskplatform.storage.connection import SOCKET
from taskplatform.storage.revision import scripts
from taskplatform.storage.urls import sqlalchemy_url

SCHEMA = "taskplatform"
# Who waits for a lock on a table has everybody queue behind it, so a migration waits briefly and
# tries again; what it then does to the rows may take its time.
BOUNDS = {
    "statement_timeout": "10min",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "1min",
}
_PATIENCE = 60.0
_FIRST_PAUSE = 0.5
_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


def upgrade(url: str, patience: float = _PATIENCE) -> None:
    """Bring the database to the newest schema; safe if several do so at once, and under load.

    Raises Unavailable if the database cannot be reached, is of a newer version, or if others hold
    the tables for so many seconds; then nothing was changed.
    """
    until, backoff = time.monotonic() + patience, Backoff(_FIRST_PAUSE)
    while not _upgraded(url):
        if time.monotonic() > until:
            raise Unavailable(
                f"the database cannot be upgraded: somebody has held a lock for {patience:g} s; "
                "end long transactions (pg_stat_activity shows them) and call it again"
            )
        time.sleep(backoff.next())


def engine(url: str) -> Engine:
    """An engine for migrations, whose sessions are bounded in time."""
    made = create_engine(
        sqlalchemy_url(url),
        poolclass=pool.NullPool,
        connect_args={"application_name": "taskplatform migrations", **SOCKET},
    )
    event.listen(made, "connect", _bound)
    return made


def _bound(connection: Any, _: object) -> None:
    for name, value in BOUNDS.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.commit()


def _upgraded(url: str) -> bool:
    try:
        command.upgrade(_config(url), "head")
    except OperationalError as error:
        if isinstance(error.orig, _BUSY):
            return False
        raise _unavailable(error) from None
    except CommandError as error:
        # Such as a revision of the database that this version does not know.
        raise Unavailable(
            f"the database cannot be upgraded: {error}; does it belong to a newer version?"
        ) from None
    return True


def check(url: str) -> tuple[str | None, str | None]:
    """The revision the database is at (None: empty) and the newest one there is.

    Raises Unavailable if the database cannot be reached.
    """
    head = ScriptDirectory.from_config(_config(url)).get_current_head()
    try:
        with engine(url).connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
            return context.get_current_revision(), head
    except OperationalError as error:
        raise _unavailable(error) from None


def _config(url: str) -> Config:
    config = Config()
    # Not through the configuration, which would interpolate the % of an encoded password.
    config.attributes["url"] = url
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config


def _unavailable(error: OperationalError) -> Unavailable:
    return Unavailable(f"the database cannot be reached: {error.orig}")
