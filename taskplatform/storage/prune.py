"""Prune: delete runs that ended long ago, a batch at a time."""

from datetime import datetime
from uuid import UUID

from taskplatform.storage.connection import Session

BATCH = 500

_CUTOFF = """
SELECT clock_timestamp() - make_interval(days => %s)
"""

# Ids are in order of creation, so the oldest runs are at the head of the primary key, and the
# search ends at the first id that is too young. A run that has not ended is never touched.
_PRUNE = """
WITH old AS MATERIALIZED (
    SELECT id FROM taskplatform.runs
    WHERE id < %(youngest)s AND finished_at < %(cutoff)s
    ORDER BY id LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
), results AS (
    DELETE FROM taskplatform.step_results s USING old WHERE s.run_id = old.id
), attempts AS (
    DELETE FROM taskplatform.step_attempts a USING old WHERE a.run_id = old.id
), keys AS (
    DELETE FROM taskplatform.keys k USING old WHERE k.run_id = old.id
), runs AS (
    DELETE FROM taskplatform.runs r USING old WHERE r.id = old.id
)
SELECT count(*) FROM old
"""


def prune(connection: Session, days: int) -> int:
    """Delete a batch of runs that ended more than `days` ago; return how many."""
    row = connection.execute(_CUTOFF, (days,)).fetchone()
    assert row is not None
    values = {"youngest": _first_id(row[0]), "cutoff": row[0], "batch": BATCH}
    pruned = connection.execute(_PRUNE, values).fetchone()
    assert pruned is not None
    return int(pruned[0])


def _first_id(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
