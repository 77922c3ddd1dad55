"""Cancel: end a run for good; a body that still executes finds its work gone."""

from uuid import UUID

from taskplatform.errors import RunNotFound
from taskplatform.storage.connection import Session, one_trip

_LOCK_RUN = "SELECT status FROM taskplatform.runs WHERE id = %(run_id)s FOR UPDATE"
_LOCK_WORK = "SELECT id FROM taskplatform.work WHERE run_id = %(run_id)s ORDER BY id FOR UPDATE"

_CANCEL = """
WITH open AS (
    UPDATE taskplatform.runs
    SET status = 'cancelled', reason = NULL, due_at = NULL, waiting_for = NULL,
        finished_at = clock_timestamp(), version = version + 1
    WHERE id = %(run_id)s AND finished_at IS NULL
    RETURNING id
), gone AS (
    DELETE FROM taskplatform.work w USING open WHERE w.run_id = open.id RETURNING w.*
), noted AS (
    INSERT INTO taskplatform.step_attempts
        (run_id, step_name, number, outcome, started_at, finished_at, worker, epoch)
    SELECT gone.run_id, gone.step,
           1 + coalesce((SELECT max(number) FROM taskplatform.step_attempts a
                         WHERE a.run_id = gone.run_id AND a.step_name = gone.step), 0),
           'cancelled', gone.started_at, clock_timestamp(), workers.name, gone.epoch
    FROM gone
    LEFT JOIN taskplatform.holders ON holders.id = gone.holder
    LEFT JOIN taskplatform.workers ON workers.id = holders.worker
    WHERE gone.holder IS NOT NULL AND gone.started_at IS NOT NULL
), freed AS (
    DELETE FROM taskplatform.keys USING open WHERE keys.run_id = open.id
)
SELECT id FROM open
"""


def cancel(connection: Session, run_id: UUID, *, again: bool = False) -> bool:
    """Cancel the run and free its key; False if it had ended before. One round trip.

    A running body is recorded as a `cancelled` attempt. `again` says that the answer to an
    earlier call was lost: then a cancelled run answers True.

    Raises RunNotFound.
    """
    values = {"run_id": run_id}
    with one_trip(connection):
        before = connection.execute(_LOCK_RUN, values)
        connection.execute(_LOCK_WORK, values)
        cancelled = connection.execute(_CANCEL, values)
    status = before.fetchone()
    if status is None:
        raise RunNotFound(f"there is no run {run_id}")
    return cancelled.fetchone() is not None or (again and status[0] == "cancelled")
