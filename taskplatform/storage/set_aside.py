"""Set aside: what is ready and has to wait at a gate is put in line, many at a time."""

from typing import Any

from taskplatform.storage.connection import Session
from taskplatform.storage.join_sql import DERIVE

# Rows that are set aside in one transaction.
BATCH = 500

# The run row is locked before the work row; a busy one is left to the next round.
_READY = """
SELECT w.id, w.run_id FROM unnest(%(queues)s::text[]) AS known(queue)
CROSS JOIN LATERAL (
    SELECT w.id, w.run_id FROM taskplatform.work w
    WHERE w.queue = known.queue AND w.holder IS NULL AND w.due_at IS NULL AND {}
    LIMIT %(batch)s
) AS w
JOIN taskplatform.runs r ON r.id = w.run_id
FOR NO KEY UPDATE OF r SKIP LOCKED
"""

_LOCK = """
SELECT id FROM taskplatform.work WHERE id = ANY (%(ids)s::bigint[]) ORDER BY id FOR UPDATE
"""

# Not one that was let go and is on its way.
_SET_ASIDE = """
UPDATE taskplatform.work w
SET due_at = coalesce((SELECT deadline FROM taskplatform.runs WHERE id = w.run_id), 'infinity'),
    reason = %(reason)s, waiting_for = %(why)s, gate = %(gate)s
WHERE w.id = ANY (%(ids)s::bigint[]) AND w.holder IS NULL AND w.due_at IS NULL AND {}
  AND (SELECT deadline > clock_timestamp() FROM taskplatform.runs
       WHERE id = w.run_id) IS NOT FALSE
  AND (SELECT true FROM taskplatform.reservations v WHERE v.work_id = w.id) IS NULL
RETURNING w.run_id
"""


def set_aside(
    connection: Session, which: str, still: str, values: dict[str, Any], *, most: int = BATCH
) -> int:
    """Put a batch of the ready work `which` (a condition on `w`) in line; how many rows were seen.

    `still` is asked under the lock. `values` has what both need, and queues, reason, why, gate.
    """
    with connection.transaction():
        found = connection.execute(_READY.format(which), values | {"batch": most}).fetchall()
        if not found:
            return 0
        ids = [row[0] for row in found]
        connection.execute(_LOCK, {"ids": ids})
        aside = connection.execute(_SET_ASIDE.format(still), values | {"ids": ids}).fetchall()
        runs = sorted({row[0] for row in aside})
        connection.execute(DERIVE, {"runs": runs, "given_back": True})
    return len(found)
