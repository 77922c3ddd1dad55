"""Runs that nobody has started in time: taken like other work, to be ended."""

from collections.abc import Sequence

from taskplatform.storage.claim import Claimed, held_by
from taskplatform.storage.connection import Session

BATCH = 100

# The run row comes before the work row in the lock order; a busy one is left to the next time.
_OVERDUE = """
SELECT id FROM taskplatform.runs
WHERE start_by < clock_timestamp() AND started_at IS NULL AND finished_at IS NULL
  AND pipeline = ANY (%s::text[])
ORDER BY start_by LIMIT %s
FOR NO KEY UPDATE SKIP LOCKED
"""

_LOCK = """
SELECT id FROM taskplatform.work WHERE run_id = ANY (%s::uuid[]) ORDER BY id FOR UPDATE
"""

# Who rests was taken by a worker, which found that there is no body to execute yet; whoever is
# parked, too; and whoever has an output of this run's own.
_TAKE = """
UPDATE taskplatform.work w
SET holder = %s, epoch = nextval('taskplatform.epochs'), due_at = NULL, reason = NULL,
    waiting_for = NULL, gate = NULL, gate_weight = NULL, gate_share = NULL
WHERE w.run_id = ANY (%s::uuid[]) AND w.branch = '' AND w.holder IS NULL
  AND (w.rest IS NULL OR (w.rest = 'canvas' AND w.due_at IS NULL))
  AND coalesce(w.reason, '') <> 'parked'
  AND NOT EXISTS (SELECT FROM taskplatform.step_results s
                  WHERE s.run_id = w.run_id AND s.reused_from IS NULL)
"""

# They would be found again and again, in front of the others.
_FORGET_OTHERS = """
UPDATE taskplatform.runs r SET start_by = NULL
FROM taskplatform.work w
WHERE r.id = ANY (%s::uuid[]) AND w.run_id = r.id AND w.branch = '' AND w.holder IS NULL
"""

_ANY = """
SELECT FROM taskplatform.runs
WHERE start_by < clock_timestamp() AND started_at IS NULL AND finished_at IS NULL
  AND pipeline = ANY (%s::text[])
LIMIT 1
"""


def any_overdue(connection: Session, pipelines: Sequence[str]) -> bool:
    """Whether a run of these pipelines should have been started by now."""
    return connection.execute(_ANY, (list(pipelines),)).fetchone() is not None


def take_overdue(connection: Session, holder: int, pipelines: Sequence[str]) -> list[Claimed]:
    """Take a batch of runs of these pipelines that should have been started by now."""
    with connection.transaction():
        runs = [row[0] for row in connection.execute(_OVERDUE, (list(pipelines), BATCH))]
        if runs:
            connection.execute(_LOCK, (runs,))
            connection.execute(_TAKE, (holder, runs))
            connection.execute(_FORGET_OTHERS, (runs,))
    return held_by(connection, holder) if runs else []
