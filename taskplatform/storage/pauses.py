"""Pauses: pipelines that nobody claims until they are resumed; their ready work is set aside.

Claims leave paused pipelines out. What is ready of them would lie in the way of every claim and
say that it is queued, so it waits like everything else that waits, with the pause as its reason.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskplatform.storage.connection import Session
from taskplatform.storage.join_sql import DERIVE
from taskplatform.storage.paused import IS_PAUSED_WITH_RUN

# Rows that are set aside, or let go, in one transaction.
BATCH = 500

_LIST = """
SELECT pipeline, reason, why, since FROM taskplatform.pauses ORDER BY pipeline
"""

_PAUSE = """
INSERT INTO taskplatform.pauses (pipeline, reason, why) VALUES (%s, 'paused', %s)
ON CONFLICT (pipeline) DO NOTHING
RETURNING pipeline
"""

_RESUME = """
WITH resumed AS (DELETE FROM taskplatform.pauses WHERE pipeline = %s RETURNING pipeline)
DELETE FROM taskplatform.crashes c USING resumed WHERE c.pipeline = resumed.pipeline
"""

_IS_PAUSED = """
SELECT true FROM taskplatform.pauses WHERE pipeline = %s
"""

# One session of all at a time: several would only load the database more.
_ALONE = """
SELECT pg_try_advisory_xact_lock(hashtextextended('taskplatform set aside', 0))
"""

# The run row is locked before the work row; a busy one is left to the next round.
_READY = """
SELECT w.id, w.run_id FROM taskplatform.work w
JOIN taskplatform.runs r ON r.id = w.run_id
WHERE w.holder IS NULL AND w.due_at IS NULL AND w.pipeline = ANY (%s::text[])
  AND (SELECT true FROM taskplatform.canaries c WHERE c.run_id = w.run_id) IS NULL
LIMIT %s
FOR NO KEY UPDATE OF r SKIP LOCKED
"""

_RESUMED = f"""
SELECT w.id, w.run_id FROM unnest(%s::text[]) AS known(pipeline)
CROSS JOIN LATERAL (
    SELECT w.id, w.run_id FROM taskplatform.work w
    JOIN taskplatform.runs r ON r.id = w.run_id
    WHERE w.pipeline = known.pipeline AND w.reason IN ('paused', 'breaker') AND w.gate IS NULL
      AND {IS_PAUSED_WITH_RUN} IS NULL
    ORDER BY w.id LIMIT %s
    FOR NO KEY UPDATE OF r SKIP LOCKED
) AS w
WHERE (SELECT true FROM taskplatform.pauses p WHERE p.pipeline = known.pipeline) IS NULL
"""

_LOCK = """
SELECT id FROM taskplatform.work WHERE id = ANY (%s::bigint[]) ORDER BY id FOR UPDATE
"""

# Most runs have one branch, and are what that is.
_IS_ALONE = """(SELECT true FROM taskplatform.work b
         WHERE b.run_id = changed.run_id AND b.id <> changed.id LIMIT 1) IS NULL"""

_SET_ASIDE = f"""
WITH changed AS (
    UPDATE taskplatform.work w SET due_at = 'infinity', reason = p.reason, waiting_for = p.why
    FROM taskplatform.pauses p
    WHERE w.id = ANY (%s::bigint[]) AND w.holder IS NULL AND w.due_at IS NULL
      AND p.pipeline = w.pipeline
    RETURNING w.id, w.run_id, w.reason, w.waiting_for
), told AS (
    UPDATE taskplatform.runs r
    SET status = 'waiting', reason = changed.reason, due_at = NULL,
        waiting_for = changed.waiting_for, version = version + 1
    FROM changed WHERE r.id = changed.run_id AND r.status = 'queued' AND {_IS_ALONE}
    RETURNING r.id
)
SELECT run_id FROM changed WHERE run_id NOT IN (SELECT id FROM told)
"""

_LET_GO = f"""
WITH changed AS (
    UPDATE taskplatform.work SET due_at = NULL, reason = NULL, waiting_for = NULL
    WHERE id = ANY (%s::bigint[]) AND holder IS NULL AND reason IN ('paused', 'breaker')
      AND gate IS NULL
    RETURNING id, run_id, queue
), told AS (
    UPDATE taskplatform.runs r
    SET status = 'queued', reason = NULL, due_at = NULL, waiting_for = NULL, version = version + 1
    FROM changed WHERE r.id = changed.run_id AND r.status = 'waiting' AND {_IS_ALONE}
    RETURNING r.id
)
SELECT run_id, queue, run_id IN (SELECT id FROM told) FROM changed
"""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pipeline that nobody claims; `reason` is paused (by hand) or breaker (by its crashes)."""

    pipeline: str
    reason: str
    why: str | None
    since: datetime


def pauses(connection: Session) -> list[Pause]:
    """The pauses, by pipeline."""
    return [Pause(*row) for row in connection.execute(_LIST)]


def pause(connection: Session, pipeline: str, why: str | None) -> bool:
    """Pause a pipeline; False if it was paused already, for whatever reason."""
    return connection.execute(_PAUSE, (pipeline, why)).fetchone() is not None


def resume(connection: Session, pipeline: str) -> bool:
    """End a pause and forget the crashes before it; False if there was none."""
    with connection.transaction():
        found = connection.execute(_IS_PAUSED, (pipeline,)).fetchone() is not None
        connection.execute(_RESUME, (pipeline,))
    return found


def set_aside(connection: Session, pipelines: Sequence[str]) -> int:
    """Let a batch of the ready work of paused pipelines wait; return how many rows were seen."""
    with connection.transaction():
        if connection.execute(_ALONE).fetchone() != (True,):
            return 0
        found = connection.execute(_READY, (list(pipelines), BATCH)).fetchall()
        if found:
            ids = [row[0] for row in found]
            connection.execute(_LOCK, (ids,))
            # Not of all that were found: some may have been claimed meanwhile.
            _derive(connection, connection.execute(_SET_ASIDE, (ids,)).fetchall())
    return len(found)


def let_go(connection: Session, pipelines: Sequence[str]) -> Counter[str]:
    """Make a batch of what was set aside and is not paused any more ready; how many by queue."""
    with connection.transaction():
        found = connection.execute(_RESUMED, (list(pipelines), BATCH)).fetchall()
        if not found:
            return Counter()
        ids = [row[0] for row in found]
        connection.execute(_LOCK, (ids,))
        ready = connection.execute(_LET_GO, (ids,)).fetchall()
        _derive(connection, [row for row in ready if not row[2]])
    return Counter(queue for _, queue, _ in ready)


def _derive(connection: Session, changed: Sequence[tuple[Any, ...]]) -> None:
    if runs := sorted({row[0] for row in changed}):
        connection.execute(DERIVE, {"runs": runs, "given_back": True})
