"""Progress: what running bodies report, written for all bodies of a worker in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass

from taskplatform.storage.connection import Session

# Rows that somebody locks are about to change: they are left out until the next time. An output of
# this epoch that is younger than the report is of that body: the holder has gone on. The holder is
# compared such that the planner does not walk the index of all held work for each row.
_WRITE = """
WITH told AS MATERIALIZED (
    SELECT w.id, d.done, d.total, clock_timestamp() - make_interval(secs => d.ago) AS at
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::double precision[],
                %s::double precision[], %s::double precision[])
         AS d(id, epoch, holder, done, total, ago)
    JOIN taskplatform.work w ON w.id = d.id
    WHERE w.epoch = d.epoch AND coalesce(w.holder, 0) = d.holder
      AND NOT EXISTS (SELECT FROM taskplatform.step_results s
                      WHERE s.run_id = w.run_id AND s.epoch = w.epoch
                        AND s.finished_at > clock_timestamp() - make_interval(secs => d.ago))
    FOR UPDATE OF w SKIP LOCKED
)
UPDATE taskplatform.work w
SET progress_done = told.done, progress_total = told.total, heartbeat_at = told.at
FROM told WHERE w.id = told.id
"""


@dataclass(frozen=True, slots=True)
class Told:
    """A body's last report, `ago` seconds old; None: not known."""

    work_id: int
    epoch: int
    holder: int
    done: float | None
    total: float | None
    ago: float


def write(connection: Session, reports: Sequence[Told]) -> int:
    """Store the reports of bodies that still hold their work; how many. One round trip."""
    return connection.execute(
        _WRITE,
        (
            [one.work_id for one in reports],
            [one.epoch for one in reports],
            [one.holder for one in reports],
            [one.done for one in reports],
            [one.total for one in reports],
            [one.ago for one in reports],
        ),
    ).rowcount
