"""Orphans: children of a run that fails, whose output nobody will read."""

from collections.abc import Sequence
from uuid import UUID

from taskplatform.storage.cancel import cancel
from taskplatform.storage.connection import Session

# Not those of a run that was retried since: whoever asks may have been stopped for an hour.
_CHILDREN = """
SELECT c.id FROM taskplatform.runs c JOIN taskplatform.runs p ON p.id = c.parent_run
LEFT JOIN taskplatform.work main ON main.run_id = p.id AND main.branch = ''
WHERE c.parent_run = ANY (%s::uuid[]) AND c.finished_at IS NULL
  AND (p.finished_at IS NOT NULL OR main.failing)
ORDER BY c.id
"""


def cancel_children(connection: Session, runs: Sequence[UUID]) -> int:
    """Cancel the unfinished children of these runs, each in a transaction; return how many."""
    children = connection.execute(_CHILDREN, (list(runs),)).fetchall()
    return sum(cancel(connection, id) for (id,) in children)
