"""Replay: a new run made from an old one, which takes over the outputs of earlier steps."""

from collections.abc import Sequence

from taskplatform.core.names import COMPENSATION
from taskplatform.errors import Conflict, RunNotFound
from taskplatform.storage.connection import Session
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun, insert

# Shared: the old run may go on, but not be deleted or taken up in the middle of the copying.
_LOCK_OLD = "SELECT id FROM taskplatform.runs WHERE id = %s FOR SHARE"

_MISSING = """
SELECT step.name FROM unnest(%s::text[]) WITH ORDINALITY AS step (name, place)
WHERE NOT EXISTS (
    SELECT FROM taskplatform.step_results WHERE run_id = %s AND step_name = step.name
)
ORDER BY step.place
"""

# A step is not reused once it was undone, or while its run is undoing what it did.
_UNDONE = """
SELECT step.name FROM unnest(%s::text[]) WITH ORDINALITY AS step (name, place)
WHERE EXISTS (
    SELECT FROM taskplatform.step_results
    WHERE run_id = %s AND step_name = step.name || %s
)
ORDER BY step.place
"""
_UNDOING = "SELECT FROM taskplatform.work WHERE run_id = %s AND branch = '' AND failing"

# An output that was itself taken over keeps naming the run that made it.
_COPY = """
INSERT INTO taskplatform.step_results (run_id, step_name, output, version, attempt, started_at,
                                       finished_at, worker, epoch, reused_from)
SELECT %s, step_name, output, version, attempt, started_at, finished_at, worker, epoch,
       coalesce(reused_from, run_id)
FROM taskplatform.step_results WHERE run_id = %s AND step_name = ANY (%s::text[])
ON CONFLICT DO NOTHING
"""


def replay(connection: Session, new: NewRun, reused: Sequence[str]) -> Enqueued:
    """Store `new`, a replay of `new.replay_of`, with the old run's outputs of the steps `reused`.

    Repeating it with the same id changes nothing. The outputs of a map are copied as the list
    that they were collected to, without the items.

    Raises RunNotFound, and Conflict if the old run has no output of one of those steps, or has
    compensated one of them.
    """
    assert new.replay_of is not None
    with connection.transaction():
        with connection.pipeline():
            old = connection.execute(_LOCK_OLD, (new.replay_of,))
            missing = connection.execute(_MISSING, (list(reused), new.replay_of))
            undone = connection.execute(_UNDONE, (list(reused), new.replay_of, COMPENSATION))
            undoing = connection.execute(_UNDOING, (new.replay_of,))
        if old.fetchone() is None:
            raise RunNotFound(f"there is no run {new.replay_of}")
        names = [name for (name,) in missing]
        if names:
            raise Conflict(
                f"run {new.replay_of} cannot be replayed from step {new.replay_from!r}: it has no "
                f"output of {', '.join(map(repr, names))}, which comes before; replay it from "
                f"{names[0]!r}"
            )
        is_undoing = bool(reused) and undoing.fetchone() is not None
        _check_not_undone(new, [name for (name,) in undone], is_undoing)
        with connection.pipeline():
            insert(connection, [new])
            connection.execute(_COPY, (new.id, new.replay_of, list(reused)))
    return Enqueued(new.id, "queued", created=True)


def _check_not_undone(new: NewRun, undone: Sequence[str], undoing: bool) -> None:
    if undoing:
        raise Conflict(
            f"run {new.replay_of} has failed and is compensating: a replay from step "
            f"{new.replay_from!r} would reuse what is being undone; wait for its end"
        )
    if undone:
        raise Conflict(
            f"run {new.replay_of} cannot be replayed from step {new.replay_from!r}: it has "
            f"compensated {', '.join(map(repr, undone))}, which would be reused; replay it from "
            f"{undone[0]!r} or from the start"
        )
