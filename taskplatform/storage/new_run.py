"""A run that is to be stored, and the statement that stores many."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import orjson

from taskplatform.core.debounce import Debounce
from taskplatform.core.dedup import Singleton
from taskplatform.storage.connection import Session
from taskplatform.storage.direct import ask
from taskplatform.storage.script import Statement

# Seconds for which a point of priority puts work ahead of what was made before it.
AGEING = 60.0

# After so many seconds without a message of its canvas, shifts execute a run.
HOLD = 10.0


@dataclass(frozen=True, slots=True)
class Membership:
    """Which batch a run is to be in, and how many make it full."""

    scope: str
    size: int


@dataclass(slots=True, kw_only=True)
class NewRun:
    """A run to store; `delay` and the time-outs in seconds, `input` canonical JSON.

    With a `queue_timeout` it fails if it has not started so long after it was ready.

    With priority 0 it has that of its pipeline, usually 0, too; `ageing` is for how many seconds
    a point of it puts the run ahead.

    A run on `hold` waits for the messages of a canvas, for HOLD seconds.
    The id is the client's, so that a call whose answer was lost can be repeated.

    `singleton` is what becomes of it while another run owns its key. A `debounce` makes it the
    run of a burst, a `batch` a member of one. Middlewares may change it before it is stored.
    """

    id: UUID
    pipeline: str
    first_step: str
    queue: str
    input: bytes
    key: str | None = None
    owner: str | None = None
    priority: int = 0
    ageing: float = AGEING
    fair_key: str | None = None
    delay: float | None = None
    at: datetime | None = None
    request_id: str | None = None
    forced: bool = False
    run_timeout: float | None = None
    queue_timeout: float | None = None
    replay_of: UUID | None = None
    replay_from: str | None = None
    hold: bool = False
    singleton: Singleton = "return"
    debounce: Debounce | None = None
    batch: Membership | None = None

    @property
    def owned_key(self) -> str | None:
        """The key this run is to own; forced and replayed runs own none."""
        return None if self.forced or self.replay_of else self.key


_SELDOM = (
    "key",
    "owned_key",
    "owner",
    "fair_key",
    "delay",
    "request_id",
    "run_timeout",
    "queue_timeout",
    "replay_of",
    "replay_from",
)


def _priority_of(pipeline: str) -> str:
    return f"(SELECT p.priority FROM taskplatform.priorities p WHERE p.pipeline = {pipeline})"


def _rank(start: str, ageing: str) -> str:
    return (
        f"(extract(epoch FROM {start}) * 1000000)::bigint"
        f" - (priority * {ageing}::double precision * 1000000)::bigint"
    )


# Rows go in by request id, so that two batches with the same ones wait in one direction only;
# work goes in by run id, which is the order of the call. Nothing is joined, so that no plan can
# be a bad one: the key is looked up row by row. The rank counts from when a run is to start, and
# never changes while it waits: what waits overtakes, in time, whatever was made later.
_INSERT = f"""
WITH given AS MATERIALIZED (
    SELECT *, CASE WHEN delay > 0 THEN clock_timestamp() + make_interval(secs => delay)
                   WHEN moment > clock_timestamp() THEN moment END AS due_at
    FROM json_to_recordset(%b::json)
         AS row (id uuid, input json, key text, owned_key text, owner text, fair_key text,
                 priority int, delay double precision, moment timestamptz, request_id text,
                 forced boolean, run_timeout double precision, queue_timeout double precision,
                 replay_of uuid, replay_from text)
), stored AS (
    INSERT INTO taskplatform.runs (id, pipeline, key, owner, status, due_at, priority, input,
                                   request_id, forced, replay_of, replay_from, deadline,
                                   start_by, fair_key)
    SELECT id, %b, key, owner, CASE WHEN due_at IS NULL THEN 'queued' ELSE 'scheduled' END,
           due_at,
           coalesce(priority, {_priority_of("%b")}, 0),
           coalesce(input, 'null'), request_id,
           coalesce(forced, false), replay_of, replay_from,
           coalesce(due_at, clock_timestamp()) + make_interval(secs => run_timeout),
           coalesce(due_at, clock_timestamp()) + make_interval(secs => queue_timeout),
           fair_key
    FROM given
    WHERE owned_key IS NULL
       OR id = (SELECT run_id FROM taskplatform.keys k
                WHERE k.pipeline = %b AND k.key = given.owned_key)
    ORDER BY request_id, id
    ON CONFLICT DO NOTHING
    RETURNING id, pipeline, priority, due_at, fair_key
)
INSERT INTO taskplatform.work (run_id, pipeline, step, queue, priority, rank, lane, due_at,
                               rest)
SELECT id, pipeline, %b, %b, priority,
       {_rank("coalesce(due_at, statement_timestamp())", "%b")},
       coalesce(fair_key, ''),
       coalesce(due_at, clock_timestamp() + make_interval(secs => %b::double precision)), %b
FROM stored ORDER BY id
RETURNING run_id, due_at IS NOT NULL AND rest IS NULL
"""
# To look for a conflict costs a record of the log for each run.
_INSERT_NEW = _INSERT.replace("ON CONFLICT DO NOTHING", "")

# A run of the plainest kind, whose id is new: nothing to decide, and nothing to read.
_INSERT_ONE = f"""
WITH stored AS (
    INSERT INTO taskplatform.runs (id, pipeline, key, owner, status, priority, input, forced,
                                   deadline, start_by, fair_key)
    VALUES (%(id)s, %(pipeline)s, %(key)s, %(owner)s, 'queued',
            coalesce(nullif(%(priority)s::int, 0), {_priority_of("%(pipeline)s")}, 0),
            %(input)s, %(forced)s,
            clock_timestamp() + make_interval(secs => %(run_timeout)s),
            clock_timestamp() + make_interval(secs => %(queue_timeout)s), %(fair_key)s)
    RETURNING id, pipeline, priority, fair_key
)
INSERT INTO taskplatform.work (run_id, pipeline, step, queue, priority, rank, lane)
SELECT id, pipeline, %(first_step)s::text, %(queue)s::text, priority,
       {_rank("statement_timestamp()", "%(ageing)s")}, coalesce(fair_key, '')
FROM stored
"""


_VALUES = (
    "id",
    "pipeline",
    "first_step",
    "queue",
    "key",
    "owner",
    "priority",
    "ageing",
    "fair_key",
    "input",
    "forced",
    "run_timeout",
    "queue_timeout",
)


def is_plain(row: NewRun) -> bool:
    """Whether the run is to start at once and concerns no other."""
    return not (
        row.owned_key is not None
        or row.request_id is not None
        or row.hold
        or row.delay is not None
        or row.at is not None
        or row.replay_of is not None
    )


def insert_plain(connection: Session, row: NewRun) -> None:
    """Store one plain run. Raises UniqueViolation if its id is stored already."""
    ask(connection, _INSERT_ONE, {name: getattr(row, name) for name in _VALUES})


def insert(connection: Session, rows: Sequence[NewRun]) -> None:
    """Store the runs that own the key they want, or want none, with their work."""
    for statement in inserts(rows):
        connection.execute(statement.text, statement.values)


def inserts(rows: Sequence[NewRun], *, new: bool = False) -> list[Statement]:
    """The statements that store them, one for each pipeline.

    An id or request id that is stored already is left alone, but where all are said to be `new`:
    then it is a UniqueViolation. They answer (run id, is it due later?) for those that were
    stored.
    """
    text = _INSERT_NEW if new else _INSERT
    return [_insert(text, *place, list(group)) for place, group in groupby(rows, key=_place)]


def _place(row: NewRun) -> tuple[str, str, str, bool, float]:
    return row.pipeline, row.first_step, row.queue, row.hold, row.ageing


def _insert(
    text: str,
    pipeline: str,
    step: str,
    queue: str,
    hold: bool,
    ageing: float,
    rows: Sequence[NewRun],
) -> Statement:
    return Statement(
        text,
        (
            orjson.dumps([_given(row) for row in rows]).decode(),
            pipeline,
            pipeline,
            pipeline,
            step,
            queue,
            ageing,
            HOLD if hold else None,
            "canvas" if hold else None,
        ),
    )


def _given(row: NewRun) -> dict[str, Any]:
    """The row as JSON has it, which costs less than an array for each column; unset is NULL."""
    given: dict[str, Any] = {"id": row.id, "input": orjson.Fragment(row.input)}
    if row.priority:
        given["priority"] = row.priority
    for name in _SELDOM:
        if (value := getattr(row, name)) is not None:
            given[name] = value
    if row.at is not None:
        given["moment"] = row.at.isoformat()
    if row.forced or row.debounce:
        given["forced"] = True
    return given
