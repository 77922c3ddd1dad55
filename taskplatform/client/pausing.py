"""Pausing a pipeline and resuming it, by hand."""

from collections import Counter
from collections.abc import Callable
from time import monotonic

from taskplatform.client.ringer import RINGER
from taskplatform.client.session import call
from taskplatform.storage import pauses

# Supervisors do the rest, if there is more.
_PATIENCE = 5.0


def pause(pipeline: str, why: str | None) -> bool:
    """Let nothing more of it start, and what is ready wait; False if it was paused already.

    Bodies that run may end. Raises Unavailable.
    """
    made = call(lambda connection, again: pauses.pause(connection, pipeline, why) or again)
    _repeat(lambda: call(lambda connection, _: pauses.set_aside(connection, [pipeline])))
    return made


def resume(pipeline: str) -> bool:
    """Let it go on; False if it was not paused. Raises Unavailable."""
    made = call(lambda connection, again: pauses.resume(connection, pipeline) or again)
    ready: Counter[str] = Counter()

    def let_go() -> int:
        batch = call(lambda connection, _: pauses.let_go(connection, [pipeline]))
        ready.update(batch)
        return batch.total()

    _repeat(let_go)
    for queue, many in ready.items():
        RINGER.ring(queue, many)
    return made


def _repeat(batch: Callable[[], int]) -> None:
    until = monotonic() + _PATIENCE
    while batch() and monotonic() < until:
        pass
