"""Store the runs that were asked for: at once, or in a transaction of the caller's."""

import asyncio
from collections.abc import Sequence
from typing import Any

from taskplatform.client import ringer, within
from taskplatform.client.chunks import chunks
from taskplatform.client.run import Run
from taskplatform.client.session import call
from taskplatform.core.pipeline import Declaration, In, Out
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun


def store(
    pipeline: Declaration[In, Out], rows: Sequence[NewRun], connection: object
) -> list[Run[Out]]:
    """Store the rows, all of one pipeline; the runs that stand for them, in their order.

    In the caller's transaction all are stored, or none.
    """
    if connection is not None:
        return _runs(pipeline, *within.store(connection, chunks(rows)))
    return [run for chunk in chunks(rows) for run in _store(pipeline, chunk)]


async def astore(
    pipeline: Declaration[In, Out], rows: Sequence[NewRun], connection: object
) -> list[Run[Out]]:
    """Like `store`, without blocking the event loop; `connection` is an async one."""
    if connection is None:
        return await asyncio.to_thread(store, pipeline, rows, None)
    return _runs(pipeline, *await within.astore(connection, chunks(rows)))


def _store(pipeline: Declaration[In, Out], rows: Sequence[NewRun]) -> list[Run[Out]]:
    found = call(lambda connection, again: enqueue(connection, rows, again=again))
    ready = sum(one.created and one.status == "queued" for one in found)
    if ready and not rows[0].hold:
        ringer.RINGER.ring(rows[0].queue, ready)
    return _runs(pipeline, found)


def _runs(
    pipeline: Declaration[Any, Out],
    found: Sequence[Enqueued],
    uncommitted: within.Open | None = None,
) -> list[Run[Out]]:
    return [Run(one.id, pipeline.name, status=one.status, uncommitted=uncommitted) for one in found]
