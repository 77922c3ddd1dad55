"""Priorities that are changed later: of a run in line, and of the runs to come of a pipeline."""

from uuid import UUID

from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.unended import lock_unended

# Back to the moment from which it counts, and from there: the difference of two is no integer.
_MOVE = """
UPDATE taskplatform.work
SET priority = %(priority)s,
    rank = rank + (priority * %(ageing)s::double precision * 1000000)::bigint
                - (%(priority)s * %(ageing)s::double precision * 1000000)::bigint
WHERE run_id = %(run_id)s AND priority <> %(priority)s
"""

_NOTE = """
UPDATE taskplatform.runs SET priority = %(priority)s, version = version + 1
WHERE id = %(run_id)s AND priority <> %(priority)s
"""

_ALL = """
SELECT pipeline, priority FROM taskplatform.priorities
"""

_SET = """
INSERT INTO taskplatform.priorities (pipeline, priority) VALUES (%s, %s)
ON CONFLICT (pipeline) DO UPDATE SET priority = excluded.priority
"""

_RESET = """
DELETE FROM taskplatform.priorities WHERE pipeline = %s
"""


def set_of_run(connection: Session, run_id: UUID, priority: int, ageing: float) -> None:
    """Move all work of a run that has not ended to where that priority puts it.

    Raises RunNotFound, and Conflict if it has ended.
    """
    values = {"run_id": run_id, "priority": priority, "ageing": ageing}
    with connection.transaction():
        lock_unended(connection, run_id, "its priority changes nothing any more")
        with one_trip(connection):
            connection.execute(_MOVE, values)
            connection.execute(_NOTE, values)


def of_pipelines(connection: Session) -> dict[str, int]:
    """The priorities that were set for the runs to come, by pipeline."""
    return dict(connection.execute(_ALL).fetchall())


def set_of_pipeline(connection: Session, pipeline: str, priority: int | None) -> None:
    """Give new runs of a pipeline that have priority 0 another one; None: no more."""
    if priority is None:
        connection.execute(_RESET, (pipeline,))
    else:
        connection.execute(_SET, (pipeline, priority))
