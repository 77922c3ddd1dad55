"""Running bodies: marked as such when they last, and told when nobody wants their result."""

from collections.abc import Sequence

from taskplatform.storage.connection import Session

_SEEN = """
SELECT run_id, clock_timestamp() - make_interval(secs => %s) FROM taskplatform.work
WHERE id = %s AND epoch = %s AND holder IS NOT NULL
"""

_LOCK_RUN = """
SELECT id FROM taskplatform.runs WHERE id = %(run_id)s FOR NO KEY UPDATE
"""

_LOCK_WORK = """
SELECT id FROM taskplatform.work WHERE id = %(work_id)s FOR UPDATE
"""

# An output of this epoch that is younger than the body is the body's own: it has ended, and the
# holder has gone on to a step that has not started.
_MARK_WORK = """
UPDATE taskplatform.work w SET started_at = %(started_at)s
WHERE id = %(work_id)s AND epoch = %(epoch)s AND holder IS NOT NULL AND started_at IS NULL
  AND NOT EXISTS (SELECT FROM taskplatform.step_results s
                  WHERE s.run_id = w.run_id AND s.epoch = w.epoch
                    AND s.finished_at > %(started_at)s)
"""

# Also when the work was marked with its claim, which could not wait for the run row.
_MARK_RUN = """
UPDATE taskplatform.runs r
SET status = 'running', reason = NULL, due_at = NULL, waiting_for = NULL, version = version + 1,
    started_at = coalesce(r.started_at, w.started_at)
FROM taskplatform.work w
WHERE w.id = %(work_id)s AND w.epoch = %(epoch)s AND w.holder IS NOT NULL
  AND w.started_at IS NOT NULL AND r.id = w.run_id
  AND r.status IN ('scheduled', 'queued', 'waiting')
"""

_STILL_HELD = """
SELECT w.id FROM unnest(%s::bigint[], %s::bigint[]) AS d(id, epoch)
JOIN taskplatform.work w ON w.id = d.id AND w.epoch = d.epoch AND w.holder IS NOT NULL
"""


def mark(connection: Session, *, work_id: int, epoch: int, started_ago: float) -> None:
    """Record that a body runs, which was expected to end before anybody looked."""
    seen = connection.execute(_SEEN, (started_ago, work_id, epoch)).fetchone()
    if seen is None:
        return
    run_id, started_at = seen
    values = {"run_id": run_id, "work_id": work_id, "epoch": epoch, "started_at": started_at}
    with connection.pipeline(), connection.transaction():
        for statement in (_LOCK_RUN, _LOCK_WORK, _MARK_WORK, _MARK_RUN):
            connection.execute(statement, values)


def still_held(connection: Session, held: Sequence[tuple[int, int]]) -> set[int]:
    """Which of these (work, epoch) are still held under that epoch."""
    if not held:
        return set()
    ids, epochs = zip(*held, strict=True)
    return {row[0] for row in connection.execute(_STILL_HELD, (list(ids), list(epochs)))}
