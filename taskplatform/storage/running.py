"""Running bodies: marked as such when they last, and told when nobody wants their result."""

from collections.abc import Sequence

from taskplatform.storage.connection import Session

# Most bodies that last are marked with their claim, so most of the time there is nothing to lock.
_UNMARKED = """
SELECT w.id, d.epoch, w.run_id, clock_timestamp() - make_interval(secs => d.ago)
FROM unnest(%s::bigint[], %s::bigint[], %s::double precision[]) AS d(id, epoch, ago)
JOIN taskplatform.work w ON w.id = d.id AND w.epoch = d.epoch AND w.holder IS NOT NULL
JOIN taskplatform.runs r ON r.id = w.run_id
WHERE w.started_at IS NULL OR r.status IN ('scheduled', 'queued', 'waiting')
"""

_LOCK_RUNS = """
SELECT id FROM taskplatform.runs WHERE id = ANY (%(runs)s::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""

_LOCK_WORK = """
SELECT id FROM taskplatform.work WHERE id = ANY (%(ids)s::bigint[]) ORDER BY id FOR UPDATE
"""

# An output of this epoch that is younger than the body is the body's own: it has ended, and the
# holder has gone on to a step that has not started.
_MARK_WORK = """
UPDATE taskplatform.work w SET started_at = d.started_at
FROM unnest(%(ids)s::bigint[], %(epochs)s::bigint[], %(started)s::timestamptz[])
     AS d(id, epoch, started_at)
WHERE w.id = d.id AND w.epoch = d.epoch AND w.holder IS NOT NULL AND w.started_at IS NULL
  AND NOT EXISTS (SELECT FROM taskplatform.step_results s
                  WHERE s.run_id = w.run_id AND s.epoch = w.epoch
                    AND s.finished_at > d.started_at)
"""

# Also when the work was marked with its claim, which could not wait for the run row.
_MARK_RUN = """
UPDATE taskplatform.runs r
SET status = 'running', reason = NULL, due_at = NULL, waiting_for = NULL, version = version + 1,
    started_at = coalesce(r.started_at, w.started_at)
FROM unnest(%(ids)s::bigint[], %(epochs)s::bigint[]) AS d(id, epoch)
JOIN taskplatform.work w ON w.id = d.id AND w.epoch = d.epoch AND w.holder IS NOT NULL
WHERE w.started_at IS NOT NULL AND r.id = w.run_id
  AND r.status IN ('scheduled', 'queued', 'waiting')
"""

_STILL_HELD = """
SELECT w.id FROM unnest(%s::bigint[], %s::bigint[]) AS d(id, epoch)
JOIN taskplatform.work w ON w.id = d.id AND w.epoch = d.epoch AND w.holder IS NOT NULL
"""


def mark(connection: Session, *, work_id: int, epoch: int, started_ago: float) -> None:
    """Record that a body runs, which was expected to end before anybody looked."""
    mark_all(connection, [(work_id, epoch, started_ago)])


def mark_all(connection: Session, bodies: Sequence[tuple[int, int, float]]) -> None:
    """The same for many: (work, epoch, seconds since the start)."""
    ids, epochs, ago = zip(*bodies, strict=True)
    seen = connection.execute(_UNMARKED, (list(ids), list(epochs), list(ago))).fetchall()
    if not seen:
        return
    ids, epochs, runs, started = zip(*seen, strict=True)
    values = {"ids": ids, "epochs": epochs, "runs": runs, "started": started}
    lists = {name: list(value) for name, value in values.items()}
    with connection.pipeline(), connection.transaction():
        for statement in (_LOCK_RUNS, _LOCK_WORK, _MARK_WORK, _MARK_RUN):
            connection.execute(statement, lists)


def still_held(connection: Session, held: Sequence[tuple[int, int]]) -> set[int]:
    """Which of these (work, epoch) are still held under that epoch."""
    if not held:
        return set()
    ids, epochs = zip(*held, strict=True)
    return {row[0] for row in connection.execute(_STILL_HELD, (list(ids), list(epochs)))}
