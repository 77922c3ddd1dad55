"""Orphans: children of a run that fails, whose output nobody will read."""

from collections.abc import Sequence
from uuid import UUID

from taskplatform.storage.cancel import cancel
from taskplatform.storage.connection import Session

_CHILDREN = """
SELECT id FROM taskplatform.runs
WHERE parent_run = ANY (%s::uuid[]) AND finished_at IS NULL ORDER BY id
"""


def cancel_children(connection: Session, runs: Sequence[UUID]) -> int:
    """Cancel the unfinished children of these runs, each in a transaction; return how many."""
    children = connection.execute(_CHILDREN, (list(runs),)).fetchall()
    return sum(cancel(connection, id) for (id,) in children)
