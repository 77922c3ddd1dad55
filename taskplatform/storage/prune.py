"""Prune: delete what ended long ago and what nobody waits for any more, a batch at a time."""

from datetime import datetime
from uuid import UUID

from taskplatform.storage.connection import Session

BATCH = 500

_CUTOFF = """
SELECT clock_timestamp() - make_interval(days => %s)
"""

# Ids are in order of creation, so the oldest runs are at the head of the primary key, and the
# search ends at the first id that is too young. A run that has not ended is never touched. Nor is
# one whose key somebody is about to take: an enqueue with a request id of that run as well holds
# the key and waits for the run, so waiting for the key here would close the circle.
_PRUNE = """
WITH ended AS MATERIALIZED (
    SELECT id FROM taskplatform.runs
    WHERE id < %(youngest)s AND finished_at < %(cutoff)s
    ORDER BY id LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
), free AS MATERIALIZED (
    SELECT k.run_id FROM ended JOIN taskplatform.keys k ON k.run_id = ended.id
    FOR UPDATE OF k SKIP LOCKED
), old AS MATERIALIZED (
    SELECT ended.id FROM ended LEFT JOIN taskplatform.keys k ON k.run_id = ended.id
    WHERE k.run_id IS NULL OR k.run_id IN (SELECT run_id FROM free)
), results AS (
    DELETE FROM taskplatform.step_results s USING old WHERE s.run_id = old.id
), attempts AS (
    DELETE FROM taskplatform.step_attempts a USING old WHERE a.run_id = old.id
), items AS (
    DELETE FROM taskplatform.items i USING old WHERE i.run_id = old.id
), waits AS (
    DELETE FROM taskplatform.waits w USING old WHERE w.run_id = old.id
), canvases AS (
    DELETE FROM taskplatform.canvases c USING old WHERE c.run_id = old.id
), keys AS (
    DELETE FROM taskplatform.keys k USING old WHERE k.run_id = old.id
), runs AS (
    DELETE FROM taskplatform.runs r USING old WHERE r.id = old.id
)
SELECT count(*) FROM old
"""

# What a wait has matched is kept with that wait's run, which may not have read it yet.
_PRUNE_EVENTS = """
DELETE FROM taskplatform.events WHERE id IN (
    SELECT id FROM taskplatform.events e
    WHERE created_at < %(cutoff)s
      AND NOT EXISTS (SELECT FROM taskplatform.waits w WHERE w.event_id = e.id)
    ORDER BY created_at LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
)
"""

# The run was cancelled or has failed: an event must not be matched with it, and need not look.
_PRUNE_WAITS = """
DELETE FROM taskplatform.waits WHERE (run_id, step_name) IN (
    SELECT run_id, step_name FROM taskplatform.waits w
    WHERE event_id IS NULL
      AND NOT EXISTS (SELECT FROM taskplatform.work WHERE work.id = w.work_id)
    LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
)
"""


def prune(connection: Session, days: int) -> int:
    """Delete a batch each of runs that ended and events that were sent more than `days` ago.

    Also waits whose work is gone. Returns how many there were of that of which there were most.
    """
    row = connection.execute(_CUTOFF, (days,)).fetchone()
    assert row is not None
    values = {"youngest": _first_id(row[0]), "cutoff": row[0], "batch": BATCH}
    pruned = connection.execute(_PRUNE, values).fetchone()
    assert pruned is not None
    events = connection.execute(_PRUNE_EVENTS, values).rowcount
    waits = connection.execute(_PRUNE_WAITS, values).rowcount
    return max(int(pruned[0]), events, waits)


def _first_id(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
