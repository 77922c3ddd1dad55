"""Unended: a run and its work, locked for a change that is only for what has not ended."""

from uuid import UUID

from taskplatform.errors import Conflict, RunNotFound
from taskplatform.storage.connection import Session

_LOCK_RUN = """
SELECT status, finished_at IS NOT NULL FROM taskplatform.runs WHERE id = %s FOR NO KEY UPDATE
"""

_LOCK_WORK = """
SELECT FROM taskplatform.work WHERE run_id = %s ORDER BY id FOR UPDATE
"""


def lock_unended(connection: Session, run_id: UUID, else_said: str) -> None:
    """Lock a run, then its work; in a transaction.

    Raises RunNotFound, and Conflict if it has ended, which says `else_said`.
    """
    found = connection.execute(_LOCK_RUN, (run_id,)).fetchone()
    if found is None:
        raise RunNotFound(f"there is no run {run_id}")
    status, ended = found
    if ended:
        raise Conflict(f"run {run_id} is {status}: {else_said}")
    connection.execute(_LOCK_WORK, (run_id,))
