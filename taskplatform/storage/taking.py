"""Taking: the statements by which a claim takes ready rows, by rank or lane by lane."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from taskplatform.core.fairness import Turn
from taskplatform.storage.lanes import UNKNOWN


class Due(NamedTuple):
    """Seconds that a lane has used beyond what it was charged when it was claimed; or fewer."""

    queue: str
    lane: str
    seconds: float


# SKIP LOCKED: nobody ever waits here.
def _ready(served: str, lane: str, limit: str) -> str:
    return f"""
    SELECT w.id, w.rank, w.alone, served.*,
           coalesce((%(costs)s::jsonb ->> (w.pipeline || '.' || w.step))::double precision,
                    'infinity') AS cost
    FROM unnest({served})
    CROSS JOIN LATERAL (
        SELECT id, rank, alone, pipeline, step FROM taskplatform.work
        WHERE queue = served.queue AND lane = {lane} AND holder IS NULL AND due_at IS NULL
          AND pipeline = ANY (%(pipelines)s::text[])
        ORDER BY rank, id
        LIMIT {limit}
        FOR UPDATE SKIP LOCKED
    ) AS w"""


def _taking(by: str, total: str, holder: str, started_at: str, fits: str) -> str:
    """Take ready rows in order; `total` adds up what is walked over, `fits` says how far to go."""
    return f"""
UPDATE taskplatform.work AS w
SET holder = {holder}, epoch = nextval('taskplatform.epochs'),
    started_at = CASE WHEN {started_at} THEN clock_timestamp() END
FROM (
    SELECT *, row_number() OVER walk AS place, {total} AS total
    FROM ready
    WINDOW walk AS (ORDER BY {by}rank, id ROWS UNBOUNDED PRECEDING)
) AS ranked
WHERE w.id = ranked.id AND {fits}
"""


def _by_rank(*how: str) -> str:
    ready = _ready("%(queues)s::text[]) AS served(queue", "''", "%(limit)s")
    return f"""
WITH ready AS MATERIALIZED ({ready}
)
{_taking("", *how)}"""


# In order of the turns; those that are to fill in are not looked at before they have to.
_SERVED = """
             %(of_queues)s::text[], %(lanes)s::text[], %(many)s::integer[],
             %(starts)s::double precision[], %(paces)s::double precision[],
             %(bases)s::double precision[]) AS served(queue, lane, many, start, pace, base"""
_WEIGHT = "coalesce((SELECT weight FROM taskplatform.weights WHERE fair_key = {}), 1)"


# A lane is charged at once with what is expected, since a body may take an hour; what it took
# beyond that is charged with a later claim. Lanes are locked after the work, in order of name.
def _in_turn(*how: str) -> str:
    return f"""
WITH ready AS MATERIALIZED (
    SELECT *, start + pace * (row_number() OVER (PARTITION BY queue, lane ORDER BY rank, id) - 1)
              AS turn
    FROM ({_ready(_SERVED, "served.lane", "served.many")}
    LIMIT %(limit)s) AS first
), taken AS ({_taking("turn, ", *how)}
    RETURNING w.queue, w.lane, ranked.base,
              CASE WHEN ranked.cost = 'infinity' THEN {UNKNOWN} ELSE ranked.cost END AS seconds
), charged AS (
    SELECT queue, lane, base, seconds FROM taken
    UNION ALL
    SELECT l.queue, l.lane, l.vtime, d.seconds
    FROM unnest(%(due_queues)s::text[], %(due_lanes)s::text[], %(due_seconds)s::double precision[])
         AS d(queue, lane, seconds)
    JOIN taskplatform.lanes l ON l.queue = d.queue AND l.lane = d.lane
)
INSERT INTO taskplatform.lanes AS l (queue, lane, vtime, used)
SELECT queue, lane, max(base) + sum(seconds) / {_WEIGHT.format("charged.lane")}, sum(seconds)
FROM charged GROUP BY queue, lane ORDER BY queue COLLATE "C", lane
ON CONFLICT (queue, lane) DO UPDATE
SET vtime = l.vtime + excluded.used / {_WEIGHT.format("l.lane")}, used = l.used + excluded.used,
    charged_at = clock_timestamp()
"""


# Rows are taken in order while their expected cost fits the budget; a row of unknown cost, or
# one that has to be alone, is taken only as the first.
_FOR_ONE = (
    "sum(CASE WHEN alone THEN 'infinity' ELSE cost END) OVER walk",
    "%(holder)s",
    "ranked.total > %(budget)s",
    """(ranked.place = 1
    OR (ranked.total <= %(budget)s AND ranked.place <= %(limit)s))""",
)
# Every row has a holder of its own, so what it costs, or whether it has to be alone, decides only
# whether it is marked as one that lasts.
_FOR_EACH = (
    "cost",
    "(%(holders)s::bigint[])[ranked.place]",
    "ranked.total > %(budget)s",
    "ranked.place <= %(limit)s",
)

TAKE = _by_rank(*_FOR_ONE)
TAKE_EACH = _by_rank(*_FOR_EACH)
TAKE_IN_TURN = _in_turn(*_FOR_ONE)
TAKE_EACH_IN_TURN = _in_turn(*_FOR_EACH)


def line_up(turns: Sequence[Turn], dues: Iterable[Due]) -> dict[str, Any]:
    """The turns, and what is due for earlier ones, as parameters."""
    owed = list(dues)
    return {
        "of_queues": [one.queue for one in turns],
        "lanes": [one.name for one in turns],
        "many": [one.many for one in turns],
        "starts": [one.start for one in turns],
        "paces": [one.pace for one in turns],
        "bases": [one.base for one in turns],
        "due_queues": [one.queue for one in owed],
        "due_lanes": [one.lane for one in owed],
        "due_seconds": [one.seconds for one in owed],
    }
