"""Store the runs that were asked for: at once, or in a transaction of the caller's."""

import asyncio
from collections.abc import Sequence
from typing import Any

from taskplatform.client import ringer, within
from taskplatform.client.chunks import chunks
from taskplatform.client.run import Run
from taskplatform.client.session import call
from taskplatform.core.pipeline import Declaration, In, Out
from taskplatform.middleware import Enqueuing, enqueuing
from taskplatform.storage import batches
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun

Asked = Sequence[tuple[NewRun, In]]


def store(pipeline: Declaration[In, Out], asked: Asked[In], connection: object) -> list[Run[Out]]:
    """Store what was asked for, inside of the middlewares; the runs that stand for it, in order.

    In the caller's transaction all are stored, or none. Raises MiddlewareError.
    """
    if not asked:
        return []
    calling = _call(pipeline, asked)
    uncommitted = None
    with enqueuing(calling):
        if connection is not None:
            stored, uncommitted = within.store(connection, chunks(calling.runs))
        else:
            stored = [one for chunk in chunks(calling.runs) for one in _store(chunk)]
        calling.stored = stored
    return _runs(pipeline, stored, uncommitted)


async def astore(
    pipeline: Declaration[In, Out], asked: Asked[In], connection: object
) -> list[Run[Out]]:
    """Like `store`, without blocking the event loop; `connection` is an async one."""
    if connection is None or not asked:
        return await asyncio.to_thread(store, pipeline, asked, None)
    calling = _call(pipeline, asked)
    with enqueuing(calling):
        stored, uncommitted = await within.astore(connection, chunks(calling.runs))
        calling.stored = stored
    return _runs(pipeline, stored, uncommitted)


def _call(pipeline: Declaration[In, Any], asked: Asked[In]) -> Enqueuing:
    runs, inputs = zip(*asked, strict=True)
    return Enqueuing(pipeline.name, runs, inputs, declaration=pipeline)


def _store(rows: Sequence[NewRun]) -> list[Enqueued]:
    found = call(lambda connection, again: enqueue(connection, rows, again=again))
    ready = sum(one.created and one.status == "queued" for one in found)
    if ready and not rows[0].hold:
        ringer.RINGER.ring(rows[0].queue, ready)
    within.fill(batches.scopes(rows))
    return found


def _runs(
    pipeline: Declaration[Any, Out],
    found: Sequence[Enqueued],
    uncommitted: within.Open | None = None,
) -> list[Run[Out]]:
    return [Run(one.id, pipeline.name, status=one.status, uncommitted=uncommitted) for one in found]
