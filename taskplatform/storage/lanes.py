"""Lanes: what is ready of each fair key on a queue, and what it has used of the queue's workers.

A lane is not kept in a table: it is the rows of work that have it, which the index has side by
side, so that the next one is found in one step however much is ready of the one before. Only what
a lane has used is kept, by those who claim; whoever enqueues locks nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskplatform.core.fairness import Lane
from taskplatform.storage.connection import Session

# So many are looked at for one claim; of more, one stretch after the other.
MOST = 200
# Seconds that a step is taken to cost until it has been seen. Little: who comes in begins beside
# lanes as they were charged, not as they will stand when that has been set right.
UNKNOWN = 0.01

_HEAD = """SELECT lane, rank, priority, pipeline || '.' || step AS task
                FROM taskplatform.work
                WHERE queue = served.queue AND lane {after}
                  AND holder IS NULL AND due_at IS NULL
                  AND pipeline = ANY (%(pipelines)s::text[])
                ORDER BY lane, rank, id LIMIT 1"""

LOOK = f"""
SELECT served.queue, head.lane, head.rank, head.priority, head.task,
       coalesce((SELECT weight FROM taskplatform.weights WHERE fair_key = head.lane), 1),
       (SELECT vtime FROM taskplatform.lanes l
        WHERE l.queue = served.queue AND l.lane = head.lane),
       coalesce((SELECT vtime FROM taskplatform.lanes l WHERE l.queue = served.queue LIMIT 1), 0)
FROM unnest(%(queues)s::text[], %(from)s::text[]) AS served(queue, first)
CROSS JOIN LATERAL (
    WITH RECURSIVE found AS (
        ({_HEAD.format(after=">= served.first")})
        UNION ALL
        SELECT next.* FROM found CROSS JOIN LATERAL (
            {_HEAD.format(after="> found.lane")}
        ) AS next
    )
    SELECT * FROM found LIMIT %(most)s
) AS head
"""

# An idle lane that is not ahead of those at work would come back with what it did not use; where
# nobody is at work there is nothing to compare, after a while.
_SWEEP = """
WITH seen AS MATERIALIZED (
    SELECT l.queue, l.lane, l.vtime, l.charged_at,
           coalesce((SELECT true FROM taskplatform.work w
                     WHERE w.queue = l.queue AND w.lane = l.lane
                       AND w.holder IS NULL AND w.due_at IS NULL LIMIT 1), false) AS ready
    FROM taskplatform.lanes l
), least AS (
    SELECT queue, min(vtime) AS vtime FROM seen WHERE ready GROUP BY queue
), idle AS (
    SELECT seen.queue, seen.lane FROM seen LEFT JOIN least ON least.queue = seen.queue
    WHERE NOT seen.ready AND CASE WHEN least.vtime IS NULL
                                  THEN seen.charged_at < clock_timestamp() - interval '1 hour'
                                  ELSE seen.vtime <= least.vtime END
), locked AS (
    SELECT l.queue, l.lane FROM idle JOIN taskplatform.lanes l
        ON l.queue = idle.queue AND l.lane = idle.lane
    FOR UPDATE OF l SKIP LOCKED
)
DELETE FROM taskplatform.lanes l USING locked
WHERE l.queue = locked.queue AND l.lane = locked.lane
"""

_ANY = """
SELECT FROM taskplatform.lanes LIMIT 1
"""

_WEIGH = """
INSERT INTO taskplatform.weights (fair_key, weight) VALUES (%s, %s)
ON CONFLICT (fair_key) DO UPDATE SET weight = excluded.weight
"""

_UNWEIGH = """
DELETE FROM taskplatform.weights WHERE fair_key = %s
"""

_WEIGHTS = """
SELECT fair_key, weight FROM taskplatform.weights ORDER BY fair_key
"""

_USE = """
SELECT l.queue, l.lane,
       coalesce((SELECT weight FROM taskplatform.weights WHERE fair_key = l.lane), 1),
       l.used, l.vtime - min(l.vtime) OVER (PARTITION BY l.queue),
       (SELECT count(*) FROM (
            SELECT FROM taskplatform.work w
            WHERE w.queue = l.queue AND w.lane = l.lane AND w.holder IS NULL AND w.due_at IS NULL
            LIMIT %(most)s) AS ready)
FROM taskplatform.lanes l ORDER BY l.queue, l.lane LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Use:
    """What a lane has used of a queue's workers, in seconds; `ahead` by its weight."""

    queue: str
    fair_key: str
    weight: float
    used: float
    ahead: float
    ready: int


def look(
    connection: Session,
    queues: Mapping[str, str],
    pipelines: Sequence[str],
    costs: Mapping[str, float],
) -> list[Lane]:
    """The lanes of these queues in which something of these pipelines is ready, by name.

    `queues` says from which lane on; `costs` maps `pipeline.step` to expected seconds.
    """
    values = {
        "queues": list(queues),
        "from": list(queues.values()),
        "pipelines": list(pipelines),
        "most": MOST,
    }
    return [
        Lane(queue, name, rank, priority, costs.get(task, UNKNOWN), weight, vtime, floor)
        for queue, name, rank, priority, task, weight, vtime, floor in connection.execute(
            LOOK, values
        )
    ]


def sweep(connection: Session) -> bool:
    """Forget idle lanes; whether there are any left."""
    if connection.execute(_ANY).fetchone() is None:
        return False
    connection.execute(_SWEEP)
    return True


def weigh(connection: Session, fair_key: str, weight: float | None) -> None:
    """Give a fair key a weight, remembered and for all queues; None: the usual 1."""
    if weight is None:
        connection.execute(_UNWEIGH, (fair_key,))
    else:
        connection.execute(_WEIGH, (fair_key, weight))


def weights(connection: Session) -> dict[str, float]:
    """The weights that were set, by fair key."""
    return dict(connection.execute(_WEIGHTS).fetchall())


def in_use(connection: Session, limit: int = 1000, most: int = 100_000) -> list[Use]:
    """What lanes have used lately, by queue; their ready work is counted up to `most`."""
    rows = connection.execute(_USE, {"limit": limit, "most": most})
    return [Use(*row) for row in rows]
