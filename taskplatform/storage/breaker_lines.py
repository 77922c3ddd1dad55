"""Breaker lines: what is ready of steps whose API fails is set aside, many at a time.

Each would be claimed and find its breaker open; a backlog of them would take workers' time from
the steps of others.
"""

from collections.abc import Sequence

from taskplatform.storage.connection import Session
from taskplatform.storage.gates import gate_of
from taskplatform.storage.join_sql import DERIVE

# Rows that are set aside in one transaction.
BATCH = 500

# The run row is locked before the work row; a busy one is left to the next round.
_READY = """
SELECT w.id, w.run_id FROM unnest(%(queues)s::text[]) AS known(queue)
CROSS JOIN LATERAL (
    SELECT id, run_id FROM taskplatform.work
    WHERE queue = known.queue AND holder IS NULL AND due_at IS NULL
      AND pipeline || '.' || step = ANY (%(steps)s::text[])
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
SET due_at = 'infinity', reason = 'breaker', waiting_for = %(why)s, gate = %(gate)s
WHERE w.id = ANY (%(ids)s::bigint[]) AND w.holder IS NULL AND w.due_at IS NULL
  AND (SELECT true FROM taskplatform.breakers b
       WHERE b.name = %(name)s AND b.state = 'open' AND b.until > clock_timestamp())
  AND (SELECT true FROM taskplatform.reservations v WHERE v.work_id = w.id) IS NULL
RETURNING w.run_id
"""


def set_aside(
    connection: Session, name: str, why: str, steps: Sequence[str], queues: Sequence[str]
) -> int:
    """Let a batch of what is ready at `pipeline.step`s wait for an open breaker.

    How many rows were seen.
    """
    values = {"queues": list(queues), "steps": list(steps), "batch": BATCH}
    with connection.transaction():
        found = connection.execute(_READY, values).fetchall()
        if not found:
            return 0
        ids = [row[0] for row in found]
        gate = gate_of("breaker", name)
        connection.execute(_LOCK, {"ids": ids})
        aside = connection.execute(
            _SET_ASIDE, {"ids": ids, "name": name, "why": why, "gate": gate}
        ).fetchall()
        runs = sorted({row[0] for row in aside})
        connection.execute(DERIVE, {"runs": runs, "given_back": True})
    return len(found)
