"""Mutants of who decides: the worker's clock, a lock order of its own, a disk that may wait."""

import sys
import time
from typing import Any

from taskplatform.middleware.throttle import throttle
from taskplatform.storage import connection as connecting
from taskplatform.storage import settle_sql, throttles
from tests.chaos.mutants.statements import change, put

_LAZY = """
ALTER SYSTEM SET synchronous_commit = off;
ALTER SYSTEM SET wal_writer_delay = '10s'
"""


def workers_clock() -> None:
    """What is free in a limit is decided by the clock of whoever asks."""
    real = throttles.grant
    change(throttles, "clock_timestamp()", "to_timestamp(%(asked_at)s)")

    class Asking:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def execute(self, statement: str, values: dict[str, Any]) -> Any:
            return self._connection.execute(statement, {**values, "asked_at": time.time()})

    def grant(connection: Any, **what: Any) -> Any:
        return real(Asking(connection), **what)  # type: ignore[arg-type]

    put(sys.modules[throttle.__module__], "grant", grant)


def unordered_locks() -> None:
    """A batch locks its rows in any order."""
    change(settle_sql, "ORDER BY id FOR NO KEY UPDATE", "ORDER BY random() FOR NO KEY UPDATE")
    change(settle_sql, "ORDER BY w.id\nFOR UPDATE", "ORDER BY random()\nFOR UPDATE")


def commits_later() -> None:
    """A commit is answered before it is on the disk."""
    real = vars(connecting)["_configure"]
    done: list[bool] = []

    def configure(session: Any, **more: Any) -> None:
        real(session, **more)
        if not done:
            done.append(True)
            for statement in (*_LAZY.split(";"), "SELECT pg_reload_conf()"):
                session.execute(statement)

    vars(connecting)["_configure"] = configure
