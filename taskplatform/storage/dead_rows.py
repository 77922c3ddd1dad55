"""The dead rows of work that is done, which a claim has to step over until they are removed."""

from taskplatform.storage.connection import Session

# A vacuum tells the planner how many rows there are. Told that there are none, it takes one index
# for as good as another, and plans by that until the next vacuum, however many come meanwhile.
LEAST = 5_000

_SOME = """
SELECT count(*) FROM (SELECT FROM taskplatform.work LIMIT %s) AS kept
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
    row = connection.execute(_SOME, (LEAST,)).fetchone()
    if row is not None and row[0] >= LEAST:
        connection.execute(_VACUUM)
