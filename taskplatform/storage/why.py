"""What the branches of an open run wait for, to be read: their place in line and who serves it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from taskplatform.storage.connection import Session

# Counted no further.
MOST = 100_000
_LANES = 1_000

# What executes comes first, then what is ready, then what is due first. A join stands for its
# branches, which have rows of their own. A run with one branch has its reason itself.
_BRANCHES = """
SELECT w.id AS work_id, CASE WHEN w.branch = '' THEN w.step ELSE w.branch END AS step,
       w.pipeline, w.queue, w.lane, w.rank, w.holder IS NOT NULL AS held,
       CASE WHEN w.holder IS NOT NULL THEN w.started_at END AS started_at,
       workers.name AS worker, w.due_at IS NOT NULL AS waits,
       nullif(w.due_at, 'infinity') AS due_at,
       CASE WHEN w.branch = '' THEN coalesce(w.reason, r.reason) ELSE w.reason END AS reason,
       CASE WHEN w.branch = '' THEN coalesce(w.waiting_for, r.waiting_for)
            ELSE w.waiting_for END AS waiting_for,
       w.gate
FROM taskplatform.work w
JOIN taskplatform.runs r ON r.id = w.run_id
LEFT JOIN taskplatform.holders ON holders.id = w.holder
LEFT JOIN taskplatform.workers ON workers.id = holders.worker
WHERE w.run_id = %s AND w.rest IS DISTINCT FROM 'branches'
ORDER BY w.holder IS NULL, w.due_at NULLS FIRST, w.id
LIMIT %s
"""

# The next lane is found by the index, however long the one before is.
_LINE = """
WITH RECURSIVE lanes AS (
    (SELECT lane FROM taskplatform.work
     WHERE queue = %(queue)s AND holder IS NULL AND due_at IS NULL ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT w.lane FROM taskplatform.work w
            WHERE w.queue = %(queue)s AND w.lane > lanes.lane
              AND w.holder IS NULL AND w.due_at IS NULL ORDER BY w.lane LIMIT 1)
    FROM lanes WHERE lanes.lane IS NOT NULL
)
SELECT
    (SELECT count(*) FROM (
        SELECT FROM taskplatform.work f
        WHERE f.queue = %(queue)s AND f.lane = %(lane)s AND f.holder IS NULL AND f.due_at IS NULL
          AND (f.rank, f.id) < (%(rank)s, %(work_id)s)
        LIMIT %(most)s) AS ahead) AS before,
    (SELECT count(*) FROM (
        SELECT FROM lanes WHERE lane IS NOT NULL LIMIT %(lanes)s) AS sharing) AS lanes,
    count(*) AS serving,
    count(*) FILTER (WHERE %(pipeline)s = ANY (k.pipelines)) AS knowing,
    coalesce(sum(k.concurrency), 0) AS seats,
    coalesce(sum((SELECT count(*) FROM taskplatform.holders h
                  WHERE h.worker = k.id AND EXISTS (
                      SELECT FROM taskplatform.work held WHERE held.holder = h.id))), 0) AS busy,
    coalesce(sum(k.claims_per_second), 0)::double precision AS per_second,
    (SELECT one.what || ' is paused' || coalesce(': ' || one.why, '') FROM (
        SELECT 'its pipeline' AS what, p.why FROM taskplatform.pauses p
        WHERE p.pipeline = %(pipeline)s
        UNION ALL
        SELECT 'its ' || p.kind || ' ' || p.name, p.why
        FROM taskplatform.runs r JOIN taskplatform.wider_pauses p
          ON (p.kind = 'queue' AND p.name = %(queue)s)
          OR (p.kind = 'owner' AND p.name = r.owner)
          OR (p.kind = 'key' AND p.pipeline = r.pipeline AND p.name = r.key)
        WHERE r.id = %(run_id)s) AS one
     WHERE (SELECT true FROM taskplatform.canaries c WHERE c.run_id = %(run_id)s) IS NULL
     LIMIT 1) AS paused
FROM taskplatform.workers k
WHERE k.lease_until > clock_timestamp() AND %(queue)s = ANY (k.queues)
"""


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of an open run; `waits` without `due_at`: until something or somebody acts."""

    work_id: int
    step: str
    pipeline: str
    queue: str
    lane: str
    rank: int
    held: bool
    started_at: datetime | None
    worker: str | None
    waits: bool
    due_at: datetime | None
    reason: str | None
    waiting_for: str | None
    gate: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """Where ready work stands in its queue, and who works it off.

    `before` are those that come first in its lane, of the `lanes` that share the queue; `serving`
    the workers of the queue, of which `knowing` know the pipeline; `seats` and `busy` are places
    for a body; `per_second` is how much was claimed lately. `paused` says which pause it is under.
    """

    before: int
    lanes: int
    serving: int
    knowing: int
    seats: int
    busy: int
    per_second: float
    paused: str | None


def branches(connection: Session, run_id: UUID, most: int) -> Sequence[Branch]:
    """The open branches of a run, those that execute or may soon before others."""
    cursor = connection.cursor(row_factory=class_row(Branch))
    return cursor.execute(_BRANCHES, (run_id, most)).fetchall()


def line(connection: Session, run_id: UUID, branch: Branch) -> Line:
    """Where a ready branch stands in its queue, counted up to MOST."""
    values = {
        "run_id": run_id,
        "work_id": branch.work_id,
        "queue": branch.queue,
        "lane": branch.lane,
        "rank": branch.rank,
        "pipeline": branch.pipeline,
        "most": MOST,
        "lanes": _LANES,
    }
    found = connection.cursor(row_factory=class_row(Line)).execute(_LINE, values).fetchone()
    assert found is not None
    return found
