"""Batches: runs that wait at their first step until it is executed for all of them at once.

Nobody counts them in a row of its own, for which all enqueues would wait. A run is a member of its
scope's batch as long as its work waits there. The first one leads: when its time is over, or there
are enough, it is made ready, and whoever claims it takes the others along. They are due a little
later than they have to be, so that they are not claimed apart, and go by themselves if it is gone.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

import orjson

from taskplatform.storage.claim import NO_NEEDS, Claimed, claimed, marking, reading
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.new_run import Membership, NewRun
from taskplatform.storage.script import Statement

# How much later than its leader a member is due, in seconds; a run shows what its own time is.
LATER = 0.9
_SWAMPED = 200
_MOST = 20_000

_WAITS = "w.gathered IS NULL AND w.holder IS NULL AND w.due_at IS NOT NULL AND w.reason IS NULL"

_MARK = f"""
WITH given AS MATERIALIZED (
    SELECT row.*, row_number() OVER (PARTITION BY scope ORDER BY id) AS place
    FROM json_to_recordset(%(rows)s::json) AS row(id uuid, scope text)
)
UPDATE taskplatform.work m
SET batch = given.scope, due_at = m.due_at + make_interval(secs => CASE WHEN given.place > 1 OR (
        SELECT true FROM taskplatform.work w
        WHERE w.batch = given.scope AND {_WAITS}
        ORDER BY w.rank DESC, w.id DESC LIMIT 1
    ) THEN {LATER} ELSE 0 END)
FROM given WHERE m.run_id = given.id AND m.branch = '' AND m.batch IS NULL
"""

# What one has made ready the next one has to see; this is the only lock, and of nobody's row.
_ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(lock) FROM (
    SELECT DISTINCT hashtextextended(scope, 0) AS lock
    FROM json_to_recordset(%s::json) AS given(scope text) ORDER BY lock
) AS scopes
"""

# As many leaders as there are full batches, each the last of its own. Those that are ready already,
# held by a limit or about to gather lead one each of those who wait; where many do, nobody has to
# hurry. The run row is locked before the work row; a busy one is left to its own time.
_FULL = f"""
SELECT w.id FROM json_to_recordset(%s::json) AS given(scope text, size integer)
CROSS JOIN LATERAL (
    SELECT count(*) AS many, count(*) * (given.size - 1) AS theirs FROM (
        SELECT FROM taskplatform.work w
        WHERE w.batch = given.scope AND w.gathered IS NULL
          AND (w.due_at IS NULL
               OR w.reason IN ('throttle', 'concurrency', 'breaker', 'paused'))
        LIMIT {_SWAMPED}
    ) AS one
) AS ready
CROSS JOIN LATERAL (
    SELECT id, run_id, row_number() OVER (ORDER BY rank, id) AS place FROM (
        SELECT w.id, w.run_id, w.rank FROM taskplatform.work w
        WHERE w.batch = given.scope AND {_WAITS}
          AND ready.many < {_SWAMPED}
        ORDER BY w.rank, w.id
        LIMIT {_MOST}
    ) AS waiting
) AS w
JOIN taskplatform.runs r ON r.id = w.run_id
WHERE w.place > ready.theirs AND mod(w.place - ready.theirs, given.size) = 0
FOR NO KEY UPDATE OF r SKIP LOCKED
"""

_LOCK = """
SELECT id FROM taskplatform.work WHERE id = ANY (%s::bigint[]) ORDER BY id FOR UPDATE
"""

_LEAD = f"""
WITH led AS (
    UPDATE taskplatform.work w SET due_at = NULL
    WHERE w.id = ANY (%s::bigint[]) AND {_WAITS}
    RETURNING w.run_id, w.queue
), queued AS (
    UPDATE taskplatform.runs r SET status = 'queued', due_at = NULL, version = r.version + 1
    FROM led WHERE r.id = led.run_id
)
SELECT queue, count(*) FROM led GROUP BY queue
"""

# Who waits for the same retry comes along, not who has to be alone; nobody waits for a lock here.
_GATHER = f"""
WITH leader AS MATERIALIZED (
    SELECT batch FROM taskplatform.work
    WHERE id = %(work_id)s AND epoch = %(epoch)s AND holder = %(holder)s AND NOT alone
), fellows AS MATERIALIZED (
    SELECT w.id FROM leader CROSS JOIN LATERAL (
        SELECT id FROM taskplatform.work w
        WHERE w.batch = leader.batch AND w.gathered IS NULL
          AND w.holder IS NULL AND NOT w.alone
          AND (w.reason IS NULL OR (w.reason = 'retry' AND w.due_at <= clock_timestamp()
                                    + make_interval(secs => {LATER})))
        ORDER BY rank, id LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) AS w
), led AS (
    UPDATE taskplatform.work SET gathered = true
    WHERE id = %(work_id)s AND epoch = %(epoch)s AND holder = %(holder)s
)
UPDATE taskplatform.work w
SET holder = %(holder)s, epoch = nextval('taskplatform.epochs'), started_at = clock_timestamp(),
    due_at = NULL, reason = NULL, waiting_for = NULL, gathered = true
FROM fellows WHERE w.id = fellows.id
"""

# Of those that are left somebody has to lead: the first one is due when its own time is over.
_LEAVE = f"""
WITH leader AS MATERIALIZED (
    SELECT batch FROM taskplatform.work WHERE id = %(work_id)s AND epoch = %(epoch)s
), first AS MATERIALIZED (
    SELECT w.id, w.run_id FROM leader CROSS JOIN LATERAL (
        SELECT id, run_id FROM taskplatform.work w
        WHERE w.batch = leader.batch AND w.gathered IS NULL
          AND w.holder IS NULL
        ORDER BY rank, id LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS w
)
UPDATE taskplatform.work w SET due_at = r.due_at
FROM first JOIN taskplatform.runs r ON r.id = first.run_id
WHERE w.id = first.id AND r.due_at < w.due_at AND {_WAITS}
"""

_WAITING = f"""
SELECT (SELECT count(*) FROM (
    SELECT FROM taskplatform.work w
    WHERE w.batch = own.batch AND {_WAITS} LIMIT %(most)s) AS members)
FROM taskplatform.work own
WHERE own.run_id = %(run_id)s AND own.branch = '' AND own.batch IS NOT NULL
  AND own.due_at IS NOT NULL AND own.reason IS NULL
"""

_HELD = "w.holder = %(holder)s AND w.epoch > %(after)s"
_MARK_RUNNING = marking(_HELD)
_READ = reading(_HELD)


def members(rows: Sequence[NewRun], made: Iterable[UUID]) -> list[Statement]:
    """The statement that makes those of the rows that were stored members of their batches."""
    new = set(made)
    given = [
        {"id": row.id, "scope": row.batch.scope}
        for row in rows
        if row.batch is not None and row.id in new
    ]
    return [Statement(_MARK, {"rows": orjson.dumps(given).decode()})] if given else []


def scopes(rows: Iterable[NewRun]) -> set[Membership]:
    """The batches that the rows are to be in."""
    return {row.batch for row in rows if row.batch is not None}


def fill(connection: Session, wanted: Iterable[Membership]) -> Counter[str]:
    """Make ready who leads a full batch, of what is committed; how many by queue.

    Of several members stored at the same time the last one to ask sees them all.
    """
    given = [{"scope": one.scope, "size": one.size} for one in wanted]
    values = (orjson.dumps(given).decode(),)
    with connection.transaction():
        connection.execute(_ONE_AT_A_TIME, values)
        full = connection.execute(_FULL, values).fetchall()
        if not full:
            return Counter()
        ids = [row[0] for row in full]
        connection.execute(_LOCK, (ids,))
        return Counter(dict(connection.execute(_LEAD, (ids,)).fetchall()))


def waiting(connection: Session, run_id: UUID) -> int | None:
    """How many wait in the batch of a run that waits there; None: it waits in none."""
    row = connection.execute(_WAITING, {"run_id": run_id, "most": _MOST}).fetchone()
    return None if row is None else int(row[0])


def gather(
    connection: Session, *, leader: Claimed, holder: int, after: int, many: int
) -> list[Claimed]:
    """Take up to so many others of the leader's batch for its holder, each under its own epoch."""
    values = {
        "work_id": leader.work_id,
        "epoch": leader.epoch,
        "holder": holder,
        "after": after,
        "limit": many,
        "needs": orjson.dumps(NO_NEEDS).decode(),
    }
    with one_trip(connection):
        connection.execute(_GATHER, values)
        connection.execute(_MARK_RUNNING, values)
        rows = connection.execute(_READ, values)
        connection.execute(_LEAVE, values)
    return [claimed(row) for row in rows]
