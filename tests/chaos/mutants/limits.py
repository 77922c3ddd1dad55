"""Mutants of who decides: the worker's clock, a lock order of its own, a disk that may wait."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from taskplatform.storage import connection as connecting
from taskplatform.storage import keys, throttles
from taskplatform.storage.script import Statement
from tests.chaos.mutants.statements import change, put

_LAZY = """
ALTER SYSTEM SET synchronous_commit = off;
ALTER SYSTEM SET wal_writer_delay = '10s'
"""


def workers_clock() -> None:
    """What is free in a limit is decided by the clock of whoever asks."""
    real = throttles.values_of
    change(throttles, "clock_timestamp() AS at", "to_timestamp(%(asked_at)s) AS at")

    def values_of(wanted: Sequence[throttles.Wanted]) -> dict[str, Any]:
        return {**real(wanted), "asked_at": time.time()}

    put(throttles, "values_of", values_of)


def unordered_locks() -> None:
    """A batch takes its keys in any order, each a moment after the other."""
    given = "SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[])"
    slowly = f"{given} AS one(p, k, r), LATERAL (SELECT pg_sleep(0.003 + 0 * length(k))) AS _"
    change(keys, given, slowly.replace("*", "p, k, r", 1))

    def take(wanted: Mapping[tuple[str, str], UUID]) -> Statement:
        items = list(wanted.items())
        random.shuffle(items)
        columns = [pipeline for (pipeline, _), _ in items], [key for (_, key), _ in items]
        return Statement(vars(keys)["_TAKE"], (*columns, [run for _, run in items]))

    put(keys, "take", take)


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
