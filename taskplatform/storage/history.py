"""All that is stored of one run, to be read."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from taskplatform.storage.connection import Session
from taskplatform.storage.history_rows import (
    AttemptRow,
    ChildRow,
    History,
    ItemRow,
    Look,
    ResultRow,
    RunRow,
    WorkRow,
)

_RUN = """
SELECT id, pipeline, key, owner, status, reason, due_at, waiting_for, priority, input, output_step,
       error, created_at, started_at, finished_at, replay_of, replay_from, parent_run
FROM taskplatform.runs WHERE id = %s
"""

_RESULTS = """
SELECT step_name AS step, output, version, attempt, started_at, finished_at, worker, reused_from,
       log
FROM taskplatform.step_results WHERE run_id = %s ORDER BY finished_at, step_name
"""

_ATTEMPTS = """
SELECT step_name AS step, number, outcome, error, started_at, finished_at, worker, log
FROM taskplatform.step_attempts WHERE run_id = %s ORDER BY step_name, number
"""

_ITEMS = """
SELECT step_name AS step, position, item, version, output, failed, attempt, started_at,
       finished_at, worker, log
FROM taskplatform.items WHERE run_id = %s ORDER BY step_name, position
"""

# What has no end, such as waiting for a person, has no due time.
_WORK = """
SELECT CASE WHEN w.branch = '' THEN w.step ELSE w.branch END AS step,
       CASE WHEN w.holder IS NOT NULL THEN w.started_at END AS started_at, workers.name AS worker,
       w.due_at IS NOT NULL AS waits, nullif(w.due_at, 'infinity') AS due_at, w.rest, w.reason,
       w.waiting_for, w.branch = '' AS main, coalesce(w.failing, false) AS failing,
       w.progress_done, w.progress_total, w.heartbeat_at
FROM taskplatform.work w
LEFT JOIN taskplatform.holders ON holders.id = w.holder
LEFT JOIN taskplatform.workers ON workers.id = holders.worker
WHERE w.run_id = %s ORDER BY w.id
"""

_CHILDREN = """
SELECT id, parent_step AS step, status FROM taskplatform.runs WHERE parent_run = %s ORDER BY id
"""

_LOOK = """
SELECT pipeline, status, reason, due_at, waiting_for, error, output_step
FROM taskplatform.runs WHERE id = %s
"""

_OUTPUTS = """
SELECT step_name, output FROM taskplatform.step_results WHERE run_id = %s AND step_name = ANY (%s)
"""


def get(connection: Session, run_id: UUID) -> History | None:
    """All of one run, as of one moment, in one round trip; not inside a transaction."""

    def read(row: type[Any], statement: str) -> Any:
        return connection.cursor(row_factory=class_row(row)).execute(statement, (run_id,))

    with connection.pipeline():
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        run = read(RunRow, _RUN)
        results = read(ResultRow, _RESULTS)
        attempts = read(AttemptRow, _ATTEMPTS)
        items = read(ItemRow, _ITEMS)
        work = read(WorkRow, _WORK)
        children = read(ChildRow, _CHILDREN)
        connection.execute("COMMIT")
    found = run.fetchone()
    if found is None:
        return None
    return History(
        found,
        results.fetchall(),
        attempts.fetchall(),
        items.fetchall(),
        work.fetchall(),
        children.fetchall(),
    )


def look(connection: Session, run_id: UUID) -> Look | None:
    """Where the run stands, by its primary key."""
    return connection.cursor(row_factory=class_row(Look)).execute(_LOOK, (run_id,)).fetchone()


def outputs(connection: Session, run_id: UUID, steps: Sequence[str]) -> dict[str, bytes]:
    """The stored outputs of those of the steps that have one."""
    return dict(connection.execute(_OUTPUTS, (run_id, list(steps))).fetchall())
