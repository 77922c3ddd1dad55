"""Cancel: end a run and its children for good; a body that still executes finds its work gone."""

from uuid import UUID

from taskplatform.errors import RunNotFound
from taskplatform.storage import slots
from taskplatform.storage.begun import begun
from taskplatform.storage.connection import Session
from taskplatform.storage.join_sql import DERIVE, WAKE_PARENTS
from taskplatform.storage.script import Script, Statement, perform

# The unfinished runs below one, and the one above, which hears of the end.
_FAMILY = """
WITH RECURSIVE below AS (
    SELECT id, parent_run FROM taskplatform.runs WHERE id = %(run_id)s
    UNION ALL
    SELECT c.id, c.parent_run FROM taskplatform.runs c JOIN below ON c.parent_run = below.id
    WHERE c.finished_at IS NULL
)
SELECT id, parent_run FROM below
"""

_LOCK_RUNS = """
SELECT id, status FROM taskplatform.runs WHERE id = ANY (%(locked)s::uuid[]) ORDER BY id FOR UPDATE
"""
_LOCK_WORK = """
SELECT id FROM taskplatform.work WHERE run_id = ANY (%(runs)s::uuid[]) ORDER BY id FOR UPDATE
"""

# Also what was kept free for it in a limit; not of who is held, since he may be asking just now.
_CANCEL = """
WITH open AS (
    UPDATE taskplatform.runs
    SET status = 'cancelled', reason = NULL, due_at = NULL, waiting_for = NULL,
        finished_at = clock_timestamp(), version = version + 1
    WHERE id = ANY (%(runs)s::uuid[]) AND finished_at IS NULL
    RETURNING id
), gone AS (
    DELETE FROM taskplatform.work w USING open WHERE w.run_id = open.id RETURNING w.*
), noted AS (
    INSERT INTO taskplatform.step_attempts
        (run_id, step_name, number, outcome, started_at, finished_at, worker, epoch)
    SELECT gone.run_id, named.step,
           1 + coalesce((SELECT max(number) FROM taskplatform.step_attempts a
                         WHERE a.run_id = gone.run_id AND a.step_name = named.step), 0),
           'cancelled', gone.started_at, clock_timestamp(), workers.name, gone.epoch
    FROM gone
    CROSS JOIN LATERAL (
        SELECT gone.step || coalesce('[' || gone.item || ']', '') AS step
    ) AS named
    LEFT JOIN taskplatform.holders ON holders.id = gone.holder
    LEFT JOIN taskplatform.workers ON workers.id = holders.worker
    WHERE gone.holder IS NOT NULL AND gone.started_at IS NOT NULL
      AND gone.rest IS DISTINCT FROM 'branches'
), freed AS (
    DELETE FROM taskplatform.keys USING open WHERE keys.run_id = open.id
), unreserved AS (
    DELETE FROM taskplatform.reservations v USING gone
    WHERE v.work_id = gone.id AND gone.holder IS NULL
)
SELECT id FROM open
"""


_BEGUN = f"SELECT {begun('%(run_id)s')}"


def cancel(connection: Session, run_id: UUID, *, again: bool = False) -> bool:
    """Cancel the run and its children, and free their keys; False if it had ended before.

    A running body is recorded as a `cancelled` attempt. `again` says that the answer to an
    earlier call was lost: then a cancelled run answers True.

    Raises RunNotFound.
    """
    with connection.transaction():
        cancelled, limited = perform(connection, cancelling(run_id, again=again))
        if limited:
            slots.let_go(connection, slots.free(connection, (), limited, {}))
    return cancelled


def cancelling(
    run_id: UUID, *, again: bool = False, unless_begun: bool = False
) -> Script[tuple[bool, list[UUID]]]:
    """Like `cancel`, as a part of a transaction; `unless_begun` leaves a run that has begun.

    Also answers which runs had slots: they are free when the transaction commits, and whoever
    waits for them hears of it from a supervisor, if nobody else tells.
    """
    runs: set[UUID] = set()
    above: set[UUID] = set()
    before: dict[UUID, str] = {}
    # A child may be made until its maker is locked: then the family is larger than it was.
    while True:
        [family] = yield [Statement(_FAMILY, {"run_id": run_id})]
        found = {row[0] for row in family}
        if not found:
            raise RunNotFound(f"there is no run {run_id}")
        if found <= runs:
            break
        runs |= found
        above = {row[1] for row in family if row[1] is not None} - runs
        [locked] = yield [Statement(_LOCK_RUNS, {"locked": list(runs | above)})]
        before |= dict(locked)
    values = {"runs": list(runs)}
    if unless_begun:
        look = Statement(_BEGUN, {"run_id": run_id})
        _, [[has_begun]] = yield [Statement(_LOCK_WORK, values), look]
        if has_begun:
            return False, []
    statements = [
        Statement(_LOCK_WORK, values),
        *slots.outliving(values["runs"]),
        Statement(_CANCEL, values),
    ]
    if above:
        statements.append(Statement(WAKE_PARENTS, {"runs": [run_id]}))
        statements.append(Statement(DERIVE, {"runs": list(above), "given_back": False}))
    _, limited, _, ended, *_ = yield statements
    done = run_id in {row[0] for row in ended} or (again and before[run_id] == "cancelled")
    return done, values["runs"] if limited else []
