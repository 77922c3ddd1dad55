"""Claim: take ready work under a new epoch, in one round trip."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from taskplatform.core.fairness import Turn
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.direct import ask_all
from taskplatform.storage.lanes import UNKNOWN
from taskplatform.storage.taking import TAKE, TAKE_IN_TURN, Due, line_up


@dataclass(slots=True)
class Claimed:
    """One branch of a run, held by the claimer until it commits something else.

    `outputs` and `versions` are the step results so far (for an item of a map only what its step
    needs), `attempts` the highest number of an attempt that did not succeed, by step name.
    `seconds_left` is what remains of the run's own time limit. `started` says that the run was
    marked running with this claim. `branch` is empty for the run's main row; `position` and `item`
    are an item's place and JSON. `rest` is what the row rested on, `open_branches` whether some of
    those it forked have not ended. `error` is what makes a `failing` run fail.
    `charge` is what its `lane` was charged for it, in seconds; None: nothing ever is.
    `gates`, which no claim tells, are those at which slots were asked for, with their limits.
    """

    work_id: int
    epoch: int
    run_id: UUID
    pipeline: str
    step: str
    queue: str
    failures: int
    put_off: float
    key: str | None
    owner: str | None
    input: bytes
    outputs: dict[str, bytes]
    versions: dict[str, int]
    attempts: dict[str, int]
    seconds_left: float | None
    started: bool
    branch: str = ""
    position: int | None = None
    item: bytes | None = None
    rest: str | None = None
    open_branches: bool = False
    failing: bool = False
    error: bytes | None = None
    parent_run: UUID | None = None
    lane: str = ""
    charge: float | None = None
    gates: dict[str, int] | None = None


# By run id first and its state only then: asked for both at once, the planner walks the index of
# all ready work instead.
_TAKE_RUN = """
WITH own AS MATERIALIZED (
    SELECT id, holder, due_at, rest, pipeline FROM taskplatform.work
    WHERE run_id = %(run_id)s AND branch = ''
    FOR UPDATE SKIP LOCKED
)
UPDATE taskplatform.work AS w
SET holder = %(holder)s, epoch = nextval('taskplatform.epochs'), started_at = clock_timestamp(),
    due_at = NULL, rest = nullif(w.rest, 'canvas')
FROM own
WHERE w.id = own.id AND own.holder IS NULL AND (own.due_at IS NULL OR own.rest = 'canvas')
  AND (SELECT true FROM taskplatform.pauses p WHERE p.pipeline = own.pipeline) IS NULL
"""


# The run row comes before the work row in the lock order, so this may not wait for it.
def marking(held: str) -> str:
    """Mark the runs of what is `held` and expected to last."""
    return f"""
UPDATE taskplatform.runs
SET status = 'running', reason = NULL, due_at = NULL, waiting_for = NULL,
    started_at = coalesce(started_at, clock_timestamp()), version = version + 1
WHERE id IN (
    SELECT r.id FROM taskplatform.work w JOIN taskplatform.runs r ON r.id = w.run_id
    WHERE {held} AND w.started_at IS NOT NULL
      AND r.status IN ('scheduled', 'queued', 'waiting')
    FOR UPDATE OF r SKIP LOCKED
)
"""


_HELD = "w.holder = %(holder)s AND w.epoch > %(after)s"
_MARK_RUNNING = marking(_HELD)


# A statement of its own: the snapshot of the claiming one may be older than the rows it locked.
# Not EXISTS for the open branches, which may be planned as a hash of all the work there is.
def reading(held: str, also: str = "") -> str:
    """Read what is `held`, in order of rank."""
    return f"""
SELECT w.id, w.epoch, w.run_id, w.pipeline, w.step, w.queue, w.failures, w.put_off,
       r.key, r.owner, r.input,
       done.names, done.outputs, done.versions,
       CASE WHEN w.tried THEN (
           SELECT jsonb_object_agg(step_name, number)::text FROM (
               SELECT step_name, max(number) AS number FROM taskplatform.step_attempts
               WHERE run_id = w.run_id
                 AND (w.item IS NULL OR step_name = w.step || '[' || w.item || ']')
               GROUP BY step_name) AS highest
       ) END,
       extract(epoch FROM r.deadline - clock_timestamp())::double precision,
       w.started_at IS NOT NULL, w.branch, w.item,
       CASE WHEN w.item IS NOT NULL THEN (
           SELECT i.item FROM taskplatform.items i
           WHERE i.run_id = w.run_id AND i.step_name = w.step AND i.position = w.item
       ) END,
       w.rest,
       CASE WHEN w.rest = 'branches' THEN coalesce((
           SELECT true FROM taskplatform.work b
           WHERE b.run_id = w.run_id AND b.parent = w.id LIMIT 1
       ), false) ELSE false END,
       coalesce(w.failing, false), CASE WHEN w.failing THEN r.error END, r.parent_run, w.lane{also}
FROM taskplatform.work w
JOIN taskplatform.runs r ON r.id = w.run_id
LEFT JOIN LATERAL (
    SELECT array_agg(step_name) AS names, array_agg(output) AS outputs,
           array_agg(version) AS versions
    FROM taskplatform.step_results
    WHERE run_id = w.run_id
      AND (w.item IS NULL
           OR jsonb_exists(%(needs)s::jsonb -> (w.pipeline || '.' || w.step), step_name))
) AS done ON true
WHERE {held}
ORDER BY w.rank, w.id
"""


Needs = Mapping[str, Sequence[str]]
NO_NEEDS: Needs = {}
MORE = """
     , EXISTS (
           SELECT FROM unnest(%(queues)s::text[]) AS served(queue)
           CROSS JOIN LATERAL (
               SELECT FROM taskplatform.work
               WHERE queue = served.queue AND holder IS NULL AND due_at IS NULL
                 AND pipeline = ANY (%(pipelines)s::text[])
               LIMIT 1
           ) AS ready
       )"""
_READ = reading(_HELD)
_READ_AND_MORE = reading(_HELD, MORE)


def claim(
    connection: Session,
    *,
    holder: int,
    after: int,
    queues: Sequence[str],
    pipelines: Sequence[str],
    limit: int,
    costs: Mapping[str, float],
    budget: float,
    needs: Needs = NO_NEEDS,
    turns: Sequence[Turn] | None = None,
    dues: Iterable[Due] = (),
) -> tuple[list[Claimed], bool]:
    """Take up to `limit` ready branches for `holder`; if any, also tell whether more are ready.

    `costs` maps `pipeline.step` to expected seconds, `budget` is how many seconds may be taken
    at once, `after` the highest epoch this holder was given before, `needs` the steps whose
    outputs an item of the map `pipeline.step` is given. With `turns` rows are taken lane by lane,
    and lanes are charged for them and for what is due; else what has no lane is taken by rank.
    """
    values = {
        "holder": holder,
        "after": after,
        "queues": list(queues),
        "pipelines": list(pipelines),
        "limit": limit,
        "costs": orjson.dumps(costs).decode(),
        "budget": budget,
        "needs": orjson.dumps(needs).decode(),
    }
    take, more = (TAKE, {}) if turns is None else (TAKE_IN_TURN, line_up(turns, dues))
    *_, rows = ask_all(connection, [take, _MARK_RUNNING, _READ_AND_MORE], values | more)
    taken = [claimed(row[:-1]) for row in rows]
    if turns is not None:
        charge(taken, costs)
    return taken, bool(rows and rows[0][-1])


def claim_run(
    connection: Session, *, holder: int, after: int, run_id: UUID, needs: Needs = NO_NEEDS
) -> list[Claimed]:
    """Take the main row of one run for `holder`, if it is ready or waits for a canvas's message."""
    values = {
        "holder": holder,
        "after": after,
        "run_id": run_id,
        "needs": orjson.dumps(needs).decode(),
    }
    with one_trip(connection):
        connection.execute(_TAKE_RUN, values)
        connection.execute(_MARK_RUNNING, values)
        rows = connection.execute(_READ, values)
    return [claimed(row) for row in rows]


def held_by(connection: Session, holder: int) -> list[Claimed]:
    """What a holder holds now."""
    rows = connection.execute(_READ, {"holder": holder, "after": -1, "needs": "{}"})
    return [claimed(row) for row in rows]


def charge(taken: Iterable[Claimed], costs: Mapping[str, float]) -> None:
    """Note what lanes were charged for what was taken in turn."""
    for one in taken:
        one.charge = costs.get(f"{one.pipeline}.{one.step}", UNKNOWN)


def claimed(row: tuple[Any, ...]) -> Claimed:
    """Make a branch of the columns that are read."""
    names, outputs, versions, attempts = row[11:15]
    steps = names or ()
    values = (
        *row[:11],
        dict(zip(steps, outputs or (), strict=True)),
        dict(zip(steps, versions or (), strict=True)),
        orjson.loads(attempts) if attempts else {},
        *row[15:],
    )
    return Claimed(*values)
