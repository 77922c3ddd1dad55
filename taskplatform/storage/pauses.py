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
from taskplatform.storage.direct import ask
from taskplatform.storage.join_sql import DERIVE

# Rows that are set aside, or let go, in one transaction.
BATCH = 500

_NAMES = """
SELECT pipeline FROM taskplatform.pauses
"""

_LOOK = """
SELECT ARRAY(SELECT pipeline FROM taskplatform.pauses),
       ARRAY(SELECT known.pipeline FROM unnest(%(pipelines)s::text[]) AS known(pipeline)
             CROSS JOIN LATERAL (
                 SELECT FROM taskplatform.work
                 WHERE pipeline = known.pipeline AND reason IN ('paused', 'breaker')
                   AND gate IS NULL
                 LIMIT 1
             ) AS w
             WHERE (SELECT true FROM taskplatform.pauses p
                    WHERE p.pipeline = known.pipeline) IS NULL)
"""

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

# The run row is locked before the work row; a busy one is left to the next round.
_READY = """
SELECT w.id, w.run_id FROM taskplatform.work w
JOIN taskplatform.runs r ON r.id = w.run_id
WHERE w.holder IS NULL AND w.due_at IS NULL AND w.pipeline = ANY (%s::text[])
LIMIT %s
FOR NO KEY UPDATE OF r SKIP LOCKED
"""

_RESUMED = """
SELECT w.id, w.run_id FROM unnest(%s::text[]) AS known(pipeline)
CROSS JOIN LATERAL (
    SELECT id, run_id FROM taskplatform.work
    WHERE pipeline = known.pipeline AND reason IN ('paused', 'breaker') AND gate IS NULL
    ORDER BY id LIMIT %s
) AS w
JOIN taskplatform.runs r ON r.id = w.run_id
WHERE (SELECT true FROM taskplatform.pauses p WHERE p.pipeline = known.pipeline) IS NULL
FOR NO KEY UPDATE OF r SKIP LOCKED
"""

_LOCK = """
SELECT id FROM taskplatform.work WHERE id = ANY (%s::bigint[]) ORDER BY id FOR UPDATE
"""

_SET_ASIDE = """
UPDATE taskplatform.work w SET due_at = 'infinity', reason = p.reason, waiting_for = p.why
FROM taskplatform.pauses p
WHERE w.id = ANY (%s::bigint[]) AND w.holder IS NULL AND w.due_at IS NULL
  AND p.pipeline = w.pipeline
RETURNING w.run_id
"""

_LET_GO = """
UPDATE taskplatform.work SET due_at = NULL, reason = NULL, waiting_for = NULL
WHERE id = ANY (%s::bigint[]) AND holder IS NULL AND reason IN ('paused', 'breaker')
  AND gate IS NULL
RETURNING run_id, queue
"""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pipeline that nobody claims; `reason` is paused (by hand) or breaker (by its crashes)."""

    pipeline: str
    reason: str
    why: str | None
    since: datetime


def names(connection: Session) -> frozenset[str]:
    """The pipelines that are paused."""
    return frozenset(row[0] for row in ask(connection, _NAMES, {}))


def look(connection: Session, pipelines: Sequence[str]) -> tuple[frozenset[str], list[str]]:
    """The pipelines that are paused; and those of the given that have something to be let go."""
    ((paused, resumed),) = ask(connection, _LOOK, {"pipelines": list(pipelines)})
    return frozenset(paused), resumed


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
        _derive(connection, ready)
    return Counter(queue for _, queue in ready)


def _derive(connection: Session, changed: Sequence[tuple[Any, ...]]) -> None:
    runs = sorted({row[0] for row in changed})
    connection.execute(DERIVE, {"runs": runs, "given_back": True})
