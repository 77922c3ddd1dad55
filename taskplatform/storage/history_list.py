"""Which runs there are, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from taskplatform.core.names import HANDLER_PREFIX
from taskplatform.storage.connection import Session
from taskplatform.storage.history_rows import RunRow


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
error, created_at, started_at, finished_at, replay_of, replay_from, parent_run
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
