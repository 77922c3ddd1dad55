"""Queues: on which of them something is ready, and how much."""

from taskplatform.storage.connection import Session

# The next queue is found by the index, whatever is ready of the one before.
_READY = """
WITH RECURSIVE found AS (
    (SELECT queue FROM taskplatform.work
     WHERE holder IS NULL AND due_at IS NULL ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT w.queue FROM taskplatform.work w
            WHERE w.queue > found.queue AND w.holder IS NULL AND w.due_at IS NULL
            ORDER BY w.queue LIMIT 1)
    FROM found WHERE found.queue IS NOT NULL
)
SELECT queue, (SELECT count(*) FROM (
    SELECT FROM taskplatform.work w
    WHERE w.queue = found.queue AND w.holder IS NULL AND w.due_at IS NULL LIMIT %s) AS some)
FROM found WHERE queue IS NOT NULL
"""


def ready(connection: Session, most: int = 100_000) -> dict[str, int]:
    """How much is ready by queue, counted up to `most`; queues without any are left out."""
    return dict(connection.execute(_READY, (most,)).fetchall())
