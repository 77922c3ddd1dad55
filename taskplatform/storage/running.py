"""Running bodies: marked as such when they last, and told when nobody wants their result."""

from collections.abc import Sequence

from taskplatform.storage.connection import Session

_RUN_OF = """
SELECT run_id FROM taskplatform.work WHERE id = %s AND epoch = %s AND holder IS NOT NULL
"""

_LOCK_RUN = """
SELECT id FROM taskplatform.runs WHERE id = %s FOR NO KEY UPDATE
"""

_MARK_WORK = """
UPDATE taskplatform.work SET started_at = clock_timestamp() - make_interval(secs => %s)
WHERE id = %s AND epoch = %s AND holder IS NOT NULL AND started_at IS NULL
RETURNING run_id, started_at
"""

_MARK_RUN = """
UPDATE taskplatform.runs
SET status = 'running', reason = NULL, due_at = NULL, waiting_for = NULL, version = version + 1,
    started_at = coalesce(started_at, %s)
WHERE id = %s AND status IN ('scheduled', 'queued', 'waiting')
"""

_STILL_HELD = """
SELECT w.id FROM unnest(%s::bigint[], %s::bigint[]) AS d(id, epoch)
JOIN taskplatform.work w ON w.id = d.id AND w.epoch = d.epoch AND w.holder IS NOT NULL
"""


def mark(connection: Session, *, work_id: int, epoch: int, started_ago: float) -> None:
    """Record that a body runs, which was expected to end before anybody looked."""
    run = connection.execute(_RUN_OF, (work_id, epoch)).fetchone()
    if run is None:
        return
    with connection.transaction():
        connection.execute(_LOCK_RUN, run)
        marked = connection.execute(_MARK_WORK, (started_ago, work_id, epoch)).fetchone()
        if marked is not None:
            connection.execute(_MARK_RUN, (marked[1], marked[0]))


def still_held(connection: Session, held: Sequence[tuple[int, int]]) -> set[int]:
    """Which of these (work, epoch) are still held under that epoch."""
    if not held:
        return set()
    ids, epochs = zip(*held, strict=True)
    return {row[0] for row in connection.execute(_STILL_HELD, (list(ids), list(epochs)))}
