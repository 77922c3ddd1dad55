"""Mutants of enqueue: of who owns a key, and of when the answer is given."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Thread, local
from typing import Any

import psycopg

from taskplatform.client import storing
from taskplatform.client.session import call, connection
from taskplatform.core.ids import uuid7
from taskplatform.errors import TaskPlatformError
from taskplatform.storage import enqueue as door
from taskplatform.storage import keys
from taskplatform.storage.known import Enqueued, wanted_keys
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.script import Statement
from tests.chaos.mutants.statements import put

OWNER = """
SELECT run_id FROM taskplatform.keys
WHERE pipeline = %s AND key = %s AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""


def read_then_insert() -> None:
    """The owner of a key is looked up first, and a free key is taken by whoever saw it free."""
    seen = local()
    send, take = vars(door)["_send"], keys.take

    def look_and_send(session: Any, rows: list[NewRun], again: bool) -> Any:
        wanted = wanted_keys(rows)
        seen.free = not any(session.execute(OWNER, one).fetchone() for one in wanted)
        if wanted:
            time.sleep(0.05)
        return send(session, rows, again)

    def take_what_was_free(wanted: Any, **more: Any) -> Statement:
        statement = take(wanted, **more)
        if not seen.free:
            return statement
        text = statement.text.replace("WHERE held.expires_at <= clock_timestamp()", "")
        assert text != statement.text
        return Statement(text, statement.values)

    put(door, "_send", look_and_send)
    put(keys, "take", take_what_was_free)


def answer_before_the_commit() -> None:
    """The caller is told that the run is stored a moment before it is."""

    def store(rows: Sequence[NewRun]) -> None:
        with (
            suppress(psycopg.Error, TaskPlatformError),
            connection() as session,
            session.transaction(),
        ):
            door.enqueue(session, rows)
            time.sleep(0.3)

    def answer(rows: Sequence[NewRun]) -> list[Enqueued]:
        Thread(target=store, args=(rows,)).start()
        return [Enqueued(one.id, "queued", True) for one in rows]

    put(storing, "_store", answer)


def retry_makes_another_run() -> None:
    """A call whose answer was lost is made again as if it were another one."""

    def store(rows: Sequence[NewRun]) -> list[Enqueued]:
        def once_more(session: Any, _: bool) -> list[Enqueued]:
            return door.enqueue(
                session, [replace(one, id=uuid7(), request_id=None) for one in rows]
            )

        return call(once_more)

    put(storing, "_store", store)
