"""All that has happened in a run, as of one moment."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from taskplatform.storage.connection import Session


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One line: where the run stands, a finished step, another attempt, or progress.

    The progress of a map is in items that have ended.
    """

    kind: str
    status: str | None
    reason: str | None
    step: str | None
    number: int | None
    outcome: str | None
    done: float | None
    total: float | None
    at: datetime


# One statement sees one moment: with a final status it sees all that led to it. Everything is read
# again each time, since rows do not become visible in the order of any of their columns.
_CHANGES = """
SELECT 'status' AS kind, status, reason, NULL AS step, NULL::integer AS number, NULL AS outcome,
       NULL::double precision AS done, NULL::double precision AS total,
       coalesce(finished_at, CASE WHEN version = 1 THEN created_at ELSE clock_timestamp() END) AS at
FROM taskplatform.runs WHERE id = %(run_id)s
UNION ALL
SELECT 'step', NULL, NULL, step_name, attempt,
       CASE WHEN reused_from IS NULL THEN 'succeeded' ELSE 'reused' END, NULL, NULL, finished_at
FROM taskplatform.step_results WHERE run_id = %(run_id)s
UNION ALL
SELECT 'attempt', NULL, NULL, step_name, number, outcome, NULL, NULL, finished_at
FROM taskplatform.step_attempts WHERE run_id = %(run_id)s
UNION ALL
SELECT 'progress', NULL, NULL, step || CASE WHEN item IS NULL THEN '' ELSE '[' || item || ']' END,
       NULL, NULL, progress_done, progress_total, coalesce(heartbeat_at, clock_timestamp())
FROM taskplatform.work WHERE run_id = %(run_id)s AND progress_done IS NOT NULL
UNION ALL
SELECT 'progress', NULL, NULL, w.step, NULL, NULL, items.many - w.pending, items.many,
       clock_timestamp()
FROM taskplatform.work w CROSS JOIN LATERAL (
    SELECT count(*) AS many FROM taskplatform.items i
    WHERE i.run_id = w.run_id AND i.step_name = w.step
) AS items
WHERE w.run_id = %(run_id)s AND w.rest = 'branches' AND w.next_item IS NOT NULL
"""


def changes(connection: Session, run_id: UUID) -> list[ChangeRow]:
    """Everything that is stored of the run's course; empty if there is no such run."""
    cursor = connection.cursor(row_factory=class_row(ChangeRow))
    return cursor.execute(_CHANGES, {"run_id": run_id}).fetchall()
