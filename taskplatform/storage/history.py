"""What is stored of runs, to be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from taskplatform.core.names import HANDLER_PREFIX
from taskplatform.storage.connection import Session


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as stored; json columns are the bytes that were stored."""

    id: UUID
    pipeline: str
    key: str | None
    owner: str | None
    status: str
    reason: str | None
    due_at: datetime | None
    waiting_for: str | None
    priority: int
    input: bytes
    output_step: str | None
    error: bytes | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    replay_of: UUID | None
    replay_from: str | None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A step's output and the attempt that made it."""

    step: str
    output: bytes
    version: int
    attempt: int
    started_at: datetime
    finished_at: datetime
    worker: str | None
    reused_from: UUID | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt that made no output."""

    step: str
    number: int
    outcome: str
    error: bytes | None
    started_at: datetime | None
    finished_at: datetime
    worker: str | None


@dataclass(frozen=True, slots=True)
class WorkRow:
    """Where an open run stands; `started_at` is set while the body executes."""

    step: str
    started_at: datetime | None
    worker: str | None


@dataclass(frozen=True, slots=True)
class History:
    """All that is stored of one run."""

    run: RunRow
    results: list[ResultRow]
    attempts: list[AttemptRow]
    work: list[WorkRow]


@dataclass(frozen=True, slots=True)
class Look:
    """Where a run stands, and what it came to."""

    pipeline: str
    status: str
    reason: str | None
    due_at: datetime | None
    waiting_for: str | None
    error: bytes | None
    output_step: str | None


_RUN = """
SELECT id, pipeline, key, owner, status, reason, due_at, waiting_for, priority, input, output_step,
       error, created_at, started_at, finished_at, replay_of, replay_from
FROM taskplatform.runs WHERE id = %s
"""

_RESULTS = """
SELECT step_name AS step, output, version, attempt, started_at, finished_at, worker, reused_from
FROM taskplatform.step_results WHERE run_id = %s ORDER BY finished_at, step_name
"""

_ATTEMPTS = """
SELECT step_name AS step, number, outcome, error, started_at, finished_at, worker
FROM taskplatform.step_attempts WHERE run_id = %s ORDER BY step_name, number
"""

_WORK = """
SELECT w.step, CASE WHEN w.holder IS NOT NULL THEN w.started_at END AS started_at,
       workers.name AS worker
FROM taskplatform.work w
LEFT JOIN taskplatform.holders ON holders.id = w.holder
LEFT JOIN taskplatform.workers ON workers.id = holders.worker
WHERE w.run_id = %s ORDER BY w.id
"""

_LOOK = """
SELECT pipeline, status, reason, due_at, waiting_for, error, output_step
FROM taskplatform.runs WHERE id = %s
"""

_OUTPUT = "SELECT output FROM taskplatform.step_results WHERE run_id = %s AND step_name = %s"


def get(connection: Session, run_id: UUID) -> History | None:
    """All of one run, as of one moment, in one round trip; not inside a transaction."""

    def read(row: type[Any], statement: str) -> Any:
        return connection.cursor(row_factory=class_row(row)).execute(statement, (run_id,))

    with connection.pipeline():
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        run = read(RunRow, _RUN)
        results = read(ResultRow, _RESULTS)
        attempts = read(AttemptRow, _ATTEMPTS)
        work = read(WorkRow, _WORK)
        connection.execute("COMMIT")
    found = run.fetchone()
    if found is None:
        return None
    return History(found, results.fetchall(), attempts.fetchall(), work.fetchall())


def look(connection: Session, run_id: UUID) -> Look | None:
    """Where the run stands, by its primary key."""
    return connection.cursor(row_factory=class_row(Look)).execute(_LOOK, (run_id,)).fetchone()


def output(connection: Session, run_id: UUID, step: str) -> bytes | None:
    """The stored output of a step."""
    row = connection.execute(_OUTPUT, (run_id, step)).fetchone()
    return None if row is None else bytes(row[0])


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs to list; created in [since, until), older than the run `after`."""

    pipeline: str | None = None
    key: str | None = None
    owner: str | None = None
    statuses: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    after: UUID | None = None
    handlers: bool = False


_COLUMNS = """
id, pipeline, key, owner, status, reason, due_at, waiting_for, priority, input, output_step,
error, created_at, started_at, finished_at, replay_of, replay_from
"""

_LIST = f"""
SELECT {_COLUMNS} FROM taskplatform.runs WHERE {{conditions}} ORDER BY id DESC LIMIT %(limit)s
"""

# Each state is walked by its own index; few rows among many would be far apart by id.
_LIST_BY_STATUS = f"""
SELECT listed.* FROM unnest(%(statuses)s::text[]) AS wanted (state)
CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM taskplatform.runs
    WHERE status = wanted.state AND status <> 'succeeded' AND {{conditions}}
    ORDER BY id DESC LIMIT %(limit)s
) AS listed
ORDER BY id DESC LIMIT %(limit)s
"""

_CLAUSES: dict[str, LiteralString] = {
    "pipeline": "pipeline = %(pipeline)s",
    "key": "key = %(key)s",
    "owner": "owner = %(owner)s",
    "since": "created_at >= %(since)s AND id >= %(since_id)s",
    "until": "created_at < %(until)s AND id < %(until_id)s",
    "after": "id < %(after)s",
}
_NO_HANDLERS: LiteralString = "pipeline NOT LIKE %(handlers)s"
_STATUSES: LiteralString = "status = ANY (%(statuses)s::text[])"

# Ids are times of the client, created_at is of the database: a day lies between them at most.
_SLACK = 86400.0


def list_runs(connection: Session, wanted: Wanted, limit: int) -> list[RunRow]:
    """The wanted runs, newest first. A clause for what is asked for only, so that indexes serve."""
    values: dict[str, Any] = {
        "pipeline": wanted.pipeline,
        "key": wanted.key,
        "owner": wanted.owner,
        "since": wanted.since,
        "until": wanted.until,
        "after": wanted.after,
    }
    clauses = [_CLAUSES[name] for name, value in values.items() if value is not None]
    if not wanted.handlers and wanted.pipeline is None:
        clauses.append(_NO_HANDLERS)
    statement: LiteralString = _LIST
    if "succeeded" in wanted.statuses:
        clauses.append(_STATUSES)
    elif wanted.statuses:
        statement = _LIST_BY_STATUS
    values |= {
        "statuses": sorted(set(wanted.statuses)),
        "since_id": wanted.since and _id_at(wanted.since, -_SLACK),
        "until_id": wanted.until and _id_at(wanted.until, _SLACK),
        "limit": limit,
        "handlers": f"{HANDLER_PREFIX}%",
    }
    conditions = sql.SQL(" AND ").join(map(sql.SQL, clauses or ["true"]))
    cursor = connection.cursor(row_factory=class_row(RunRow))
    # Not prepared: the best plan depends on the values.
    query = sql.SQL(statement).format(conditions=conditions)
    return cursor.execute(query, values, prepare=False).fetchall()


def _id_at(moment: datetime, slack: float) -> UUID:
    milliseconds = int((moment.timestamp() + slack) * 1000)
    return UUID(int=min(max(0, milliseconds), (1 << 48) - 1) << 80)
