"""Why a run that was enqueued waits to be due: by itself, with its burst, or for its batch."""

from datetime import timedelta

from taskplatform.client.view import RunView
from taskplatform.core import registry
from taskplatform.errors import PipelineNotFound
from taskplatform.storage import batches
from taskplatform.storage.connection import Session


def later(connection: Session, view: RunView) -> str:
    """What a scheduled run waits for, in words."""
    waiting = batches.waiting(connection, view.id)
    try:
        declaration = registry.get(view.pipeline)
    except PipelineNotFound:
        declaration = None
    if waiting is not None:
        most = declaration.batch.size if declaration and declaration.batch else None
        of = f" of {most}" if most else ""
        return f"it waits for its batch, in which there are {waiting}{of}"
    if declaration and declaration.debounce and view.key is not None:
        longest = declaration.debounce.max_wait
        at_last = (
            f", at the latest at {view.created_at + timedelta(seconds=longest):%H:%M:%S %Z}"
            if longest
            else ""
        )
        return (
            f"it waits for the end of a burst: each enqueue of key {view.key!r} joins it{at_last}"
        )
    return "it was enqueued for later"
