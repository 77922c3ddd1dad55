"""Vacuum of the work table: its dead rows, and what the planner believes of it."""

from taskplatform.storage.connection import Session

# A vacuum tells the planner how many rows there are. Told that there are next to none, it takes one
# way to a row for as good as another, and plans by that until the next vacuum, however many come
# meanwhile.
LEAST = 5_000

_SOME = """
SELECT count(*) FROM (SELECT FROM taskplatform.work LIMIT %s) AS kept
"""
# Without any vacuum yet it is -1, and the planner guesses by the size.
_BELIEVED = """
SELECT reltuples FROM pg_class WHERE oid = 'taskplatform.work'::regclass
"""

# Claims walk the index of ready work from its head, where all that was claimed before lies dead;
# so the indexes are always cleaned, also when a large backlog makes that little of the table.
# Nothing is given back to the disk: that takes a lock which claims would wait for. Whoever finds
# somebody else at it leaves it to them.
_VACUUM = "VACUUM (INDEX_CLEANUP on, TRUNCATE off, SKIP_LOCKED, PARALLEL 0) taskplatform.work"


def vacuum_work(connection: Session) -> None:
    """Remove the dead rows of the work table, unless only few others are in it.

    A role that may not gets a notice, and nothing else. The connection has to be in autocommit
    mode, outside of a transaction.
    """
    if _are_many(connection):
        connection.execute(_VACUUM)


def is_misjudged(connection: Session) -> bool:
    """Whether the planner believes of many rows of work that they are few."""
    row = connection.execute(_BELIEVED).fetchone()
    return row is not None and 0 <= row[0] < LEAST and _are_many(connection)


def _are_many(connection: Session) -> bool:
    row = connection.execute(_SOME, (LEAST,)).fetchone()
    return row is not None and row[0] >= LEAST
