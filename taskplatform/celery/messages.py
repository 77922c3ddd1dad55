"""Receiving a canvas's message: the step it names, then the rest of the canvas."""

from typing import Any
from uuid import UUID

from celery.exceptions import Ignore

from taskplatform.celery import tails
from taskplatform.celery.identity import current_child
from taskplatform.celery.junk import JUNK, sample
from taskplatform.celery.shifts import work_on
from taskplatform.core import registry
from taskplatform.core.segments import next_stage
from taskplatform.errors import Unavailable
from taskplatform.executor.child import Child
from taskplatform.storage import canvases
from taskplatform.storage.connection import AWAY

# While the database is away, the message comes back so often.
_AGAIN = 1.0


def receive(task: Any, pipeline: str, step: str, run_id: Any) -> None:
    """Execute the step, if the run stands there; go on in the canvas only if it is done.

    What comes after the run is taken out of the message by the first one, and published once
    when the run has succeeded, whoever ends it. Raises Ignore to end this message's part.
    """
    try:
        run = run_id if isinstance(run_id, UUID) else UUID(run_id)
    except (ValueError, AttributeError, TypeError):
        JUNK.drop(task.name, "it names no run", sample(run_id))
        raise Ignore from None
    child = current_child(task.app)
    try:
        done = _execute(task, child, pipeline, step, run)
    except (*AWAY, Unavailable) as error:
        raise task.retry(exc=error, countdown=_AGAIN, max_retries=None) from error
    if not done:
        raise Ignore


def _execute(task: Any, child: Child, pipeline: str, step: str, run_id: UUID) -> bool:
    own, tail = tails.split(task, pipeline, run_id)
    with child.lock:
        before = canvases.seen(child.connection, run_id, pipeline)
        if before is None:
            JUNK.drop(task.name, f"there is no run {run_id} of pipeline '{pipeline}'")
            return False
        if tail is not None:
            canvases.keep(child.connection, run_id, tail)
            # Not before it is stored: until then a message that comes back has to have it.
            task.request.chain = own
    if not _done(before, pipeline, step):
        work_on(task.app, run_id)
    with child.lock:
        after = canvases.seen(child.connection, run_id, pipeline)
        if after is not None and after[0] == "succeeded":
            tails.publish(child.connection, task.app, run_id)
    return _done(after, pipeline, step)


def _done(seen: tuple[str, dict[str, int]] | None, pipeline: str, step: str) -> bool:
    if seen is None:
        return False
    status, versions = seen
    if status in ("failed", "cancelled"):
        return False
    declaration = registry.get(pipeline)
    left = next_stage(declaration, versions)
    places = {one.name: at for at, stage in enumerate(declaration.stages) for one in stage}
    # A step that the code here no longer has is done when the run is.
    return not left or (step in places and places[left[0].name] > places[step])
