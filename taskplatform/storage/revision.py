"""Which revision of the schema a database has, without loading Alembic."""

import re
from functools import cache
from pathlib import Path

import psycopg

from taskplatform.storage.connection import Session

_CURRENT = "SELECT version_num FROM taskplatform.alembic_version"
_NAMED = re.compile(r'^(revision|down_revision) = "([^"]+)"$', re.MULTILINE)


def scripts() -> Path:
    """The folder of the migrations: in the installed package, or next to it in the repository."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "alembic", package.parent / "alembic"):
        if (place / "env.py").is_file():
            return place
    raise FileNotFoundError(f"no migrations in {package} or next to it")


@cache
def head() -> str:
    """The newest revision there is, read from the migrations' files."""
    made: set[str] = set()
    followed: set[str] = set()
    for script in (scripts() / "versions").glob("*.py"):
        for name, value in _NAMED.findall(script.read_text()):
            (made if name == "revision" else followed).add(value)
    (newest,) = made - followed
    return newest


def current(connection: Session) -> str | None:
    """The revision the database has; None if it is empty."""
    try:
        row = connection.execute(_CURRENT).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return None
    return None if row is None else str(row[0])
