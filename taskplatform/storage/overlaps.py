"""Overlaps: which runs are too many for a gate, of those that have begun and those in its line."""

from uuid import UUID

from taskplatform.storage.connection import Session

# A run that was just let go out of the line is in neither, but has what was kept free for it.
_TOO_MANY = """
WITH wanting AS (
    SELECT s.run_id FROM taskplatform.slots s WHERE s.gate = %(gate)s AND s.holder IS NULL
    UNION
    SELECT w.run_id FROM taskplatform.work w WHERE w.gate = %(gate)s
    UNION
    SELECT w.run_id FROM taskplatform.reservations v JOIN taskplatform.work w ON w.id = v.work_id
    WHERE v.gate = %(gate)s
    UNION
    SELECT %(run_id)s::uuid
)
SELECT r.id FROM wanting JOIN taskplatform.runs r ON r.id = wanting.run_id
WHERE r.finished_at IS NULL
ORDER BY {order}
OFFSET coalesce((SELECT l.most FROM taskplatform.limits l
                 WHERE l.kind = 'concurrency' AND l.name = split_part(%(gate)s, ':', 2)), %(most)s)
"""
_OLDEST = _TOO_MANY.format(order="r.created_at DESC, r.id DESC")
_NEWEST = _TOO_MANY.format(order="r.created_at, r.id")


def too_many(
    connection: Session, gate: str, most: int, run_id: UUID, *, newest: bool
) -> list[UUID]:
    """The runs to cancel so that only `most` are left, the newest or the oldest of them.

    `run_id` is one that asks.
    """
    values = {"gate": gate, "most": most, "run_id": run_id}
    return [row[0] for row in connection.execute(_NEWEST if newest else _OLDEST, values)]
