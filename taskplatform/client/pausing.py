"""Pausing by hand: a pipeline, a queue, an owner or a key; resuming, and letting single runs go."""

from collections import Counter
from collections.abc import Callable
from time import monotonic
from uuid import UUID

from taskplatform.client.ringer import RINGER
from taskplatform.client.session import call
from taskplatform.storage import canaries, paused, pauses

# Supervisors do the rest, if there is more: a pause counts from now on, and loads nobody.
_PATIENCE = 0.5


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


def pause_other(kind: str, name: str, why: str | None, *, pipeline: str = "") -> bool:
    """Let nothing more start of a queue, an owner, or a key of a pipeline; False if it was paused.

    What is on the way when this returns may still start within a second. Raises Unavailable.
    """
    return call(
        lambda connection, again: (
            paused.pause(connection, kind, name, why, pipeline=pipeline) or again
        )
    )


def resume_other(kind: str, name: str, *, pipeline: str = "") -> bool:
    """Let it go on, within a second; False if it was not paused. Raises Unavailable."""
    return call(
        lambda connection, again: paused.resume(connection, kind, name, pipeline=pipeline) or again
    )


def start(run_id: UUID) -> None:
    """Let one run go on to its end, whatever is paused.

    Raises RunNotFound, Unavailable, and Conflict if it has ended.
    """
    for queue in call(lambda connection, _: canaries.start(connection, run_id)):
        RINGER.ring(queue)


def canary(pipeline: str, many: int) -> list[UUID]:
    """Let the oldest runs of a paused pipeline go on, and no others; which. Raises Unavailable."""
    found = call(lambda connection, _: canaries.oldest(connection, pipeline, many))
    for run in found:
        start(run)
    return found


def _repeat(batch: Callable[[], int]) -> None:
    until = monotonic() + _PATIENCE
    while batch() and monotonic() < until:
        pass
