"""Canaries: runs that are let go by hand, though their pipeline or something else is paused."""

from collections.abc import Sequence
from uuid import UUID

from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.join_sql import DERIVE
from taskplatform.storage.unended import lock_unended

_NOTE = """
INSERT INTO taskplatform.canaries (run_id) VALUES (%(run_id)s) ON CONFLICT DO NOTHING
"""

_LET_GO = """
UPDATE taskplatform.work SET due_at = NULL, reason = NULL, waiting_for = NULL
WHERE run_id = %(run_id)s AND holder IS NULL AND reason IN ('paused', 'breaker') AND gate IS NULL
"""

_QUEUES = """
SELECT DISTINCT queue FROM taskplatform.work
WHERE run_id = %(run_id)s AND holder IS NULL AND due_at IS NULL
"""

_OLDEST = """
SELECT run_id FROM taskplatform.work
WHERE pipeline = %s AND reason IN ('paused', 'breaker') AND gate IS NULL AND branch = ''
ORDER BY id LIMIT %s
"""

_READY = """
SELECT w.queue, count(*) FROM taskplatform.canaries c
JOIN taskplatform.work w ON w.run_id = c.run_id
WHERE w.holder IS NULL AND w.due_at IS NULL AND w.queue = ANY (%s::text[])
  AND w.pipeline = ANY (%s::text[])
GROUP BY w.queue
"""

_SWEEP = """
DELETE FROM taskplatform.canaries c
WHERE (SELECT finished_at IS NULL FROM taskplatform.runs r WHERE r.id = c.run_id) IS NOT TRUE
"""


def start(connection: Session, run_id: UUID) -> list[str]:
    """Let a run go on to its end, whatever is paused; the queues on which it is ready.

    Raises RunNotFound, and Conflict if it has ended.
    """
    values = {"run_id": run_id}
    with connection.transaction():
        lock_unended(connection, run_id, "there is nothing to start")
        with one_trip(connection):
            connection.execute(_NOTE, values)
            connection.execute(_LET_GO, values)
            connection.execute(DERIVE, {"runs": [run_id], "given_back": False})
            ready = connection.execute(_QUEUES, values)
        return [row[0] for row in ready]


def oldest(connection: Session, pipeline: str, many: int) -> list[UUID]:
    """The runs of a paused pipeline that have waited longest."""
    return [row[0] for row in connection.execute(_OLDEST, (pipeline, many))]


def ready(connection: Session, queues: Sequence[str], pipelines: Sequence[str]) -> dict[str, int]:
    """How many branches of canaries could be claimed, by queue."""
    return dict(connection.execute(_READY, (list(queues), list(pipelines))).fetchall())


def sweep(connection: Session) -> None:
    """Forget those that have ended."""
    connection.execute(_SWEEP)
