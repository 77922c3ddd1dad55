"""Dispatch: make due work claimable, and see where ready work lies unclaimed."""

from collections.abc import Sequence
from dataclasses import dataclass

from taskplatform.storage import retry_budgets
from taskplatform.storage.connection import Session
from taskplatform.storage.direct import ask

BATCH = 200

# The run row is locked before the work row; a busy one is left to the next round. What stood in a
# line before says for what it waited, and is not held back again.
_DUE = """
SELECT w.id, CASE WHEN w.reason = 'retry' AND w.waiting_for IS NULL THEN (
           SELECT true FROM taskplatform.retry_budgets b WHERE b.pipeline = w.pipeline) END
FROM taskplatform.work w
JOIN taskplatform.runs r ON r.id = w.run_id
WHERE w.due_at <= clock_timestamp()
ORDER BY w.due_at LIMIT %s
FOR NO KEY UPDATE OF r SKIP LOCKED
"""

_LOCK = """
SELECT id FROM taskplatform.work WHERE id = ANY (%s::bigint[]) ORDER BY id FOR UPDATE
"""

_RELEASE = """
WITH released AS (
    UPDATE taskplatform.work
    SET due_at = NULL, reason = NULL, waiting_for = NULL, rest = nullif(rest, 'canvas'),
        gate = NULL, gate_weight = NULL, gate_share = NULL
    WHERE id = ANY (%s::bigint[]) AND due_at <= clock_timestamp() AND holder IS NULL
    RETURNING run_id, queue
), queued AS (
    UPDATE taskplatform.runs r
    SET status = 'queued', reason = NULL, due_at = NULL, waiting_for = NULL, version = version + 1
    FROM released WHERE r.id = released.run_id AND r.status <> 'running'
)
SELECT queue, count(*) FROM released GROUP BY queue
"""

# Not EXISTS, which is planned as a join that first collects all the ready work there is.
_OUTLOOK = """
SELECT
    ARRAY(SELECT served.queue FROM unnest(%(queues)s::text[]) AS served(queue)
          CROSS JOIN LATERAL (
              SELECT FROM taskplatform.work
              WHERE queue = served.queue AND holder IS NULL AND due_at IS NULL
                AND pipeline = ANY (%(pipelines)s::text[])
              LIMIT 1
          ) AS w),
    (SELECT extract(epoch FROM due_at - clock_timestamp())::double precision
     FROM taskplatform.work WHERE due_at < 'infinity' ORDER BY due_at LIMIT 1),
    (SELECT extract(epoch FROM next_at - clock_timestamp())::double precision
     FROM taskplatform.throttle_buckets WHERE next_at < 'infinity' ORDER BY next_at LIMIT 1)
"""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Queues with unclaimed ready work, and seconds until the next work is due (None: none).

    `next_gate`: until the head of a line may go, as far as that is known by the clock.
    """

    ready: list[str]
    next_due: float | None
    next_gate: float | None = None


def release_due(connection: Session) -> dict[str, int]:
    """Make a batch of due work claimable; return how many by queue."""
    with connection.transaction():
        due = connection.execute(_DUE, (BATCH,)).fetchall()
        if not due:
            return {}
        ids = [row[0] for row in due]
        connection.execute(_LOCK, (ids,))
        if budgeted := [id for id, in_force in due if in_force]:
            retry_budgets.hold_back(connection, budgeted)
        return dict(connection.execute(_RELEASE, (ids,)).fetchall())


def outlook(connection: Session, queues: Sequence[str], pipelines: Sequence[str]) -> Outlook:
    """See what a worker of these queues and pipelines could claim now, and what comes next."""
    values = {"queues": list(queues), "pipelines": list(pipelines)}
    (row,) = ask(connection, _OUTLOOK, values)
    return Outlook(*row)
