"""Debounce: an enqueue joins the run of its key that has not begun, and puts it off.

The run is locked before its work and its work before the key, as whoever ends a run does. All of
it is decided under these locks, so a claim comes before or after: a run that it takes has begun,
and the enqueue makes another one. In the history these runs own no key, as they do not once they
have begun: their ends leave it alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import orjson

from taskplatform.storage.begun import begun
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.script import Script, Statement

_GIVEN = "FROM unnest(%(pipelines)s::text[], %(keys)s::text[]) AS given(pipeline, key)"
_OWNED = f"""{_GIVEN}
JOIN taskplatform.keys k ON k.pipeline = given.pipeline AND k.key = given.key"""

# Not of runs that have begun: their ends would wait for a transaction of the caller's.
_LOCK_RUNS = f"""
SELECT r.id {_OWNED} JOIN taskplatform.runs r ON r.id = k.run_id
WHERE {begun("k.run_id")} IS NULL
ORDER BY r.id FOR NO KEY UPDATE OF r
"""
_LOCK_WORK = f"""
SELECT w.id {_OWNED} JOIN taskplatform.work w ON w.run_id = k.run_id
WHERE {begun("k.run_id")} IS NULL
ORDER BY w.id FOR UPDATE OF w
"""

# Whose answer was lost: it has made a run, or was the last to join one.
_DONE = """
SELECT given.id, r.id, r.status
FROM unnest(%(calls)s::uuid[], %(pipelines)s::text[], %(keys)s::text[])
     AS given(id, pipeline, key)
CROSS JOIN LATERAL (
    SELECT id, status FROM taskplatform.runs
    WHERE id = given.id OR id = (
        SELECT k.run_id FROM taskplatform.keys k
        WHERE k.pipeline = given.pipeline AND k.key = given.key AND k.joined = given.id
    )
    LIMIT 1
) AS r
"""

# Once its time has come, or while something else holds it, only its input is replaced.
_JOIN = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json)
        AS row(id uuid, pipeline text, key text, input json, period double precision,
               max_wait double precision)
), waiting AS MATERIALIZED (
    SELECT given.*, w.id AS work_id, r.id AS run_id, r.status, w.due_at,
           CASE WHEN r.status = 'scheduled' AND w.due_at > clock_timestamp()
                THEN least(clock_timestamp() + make_interval(secs => given.period),
                           r.created_at + make_interval(secs => given.max_wait)) END AS due
    FROM given
    JOIN taskplatform.keys k ON k.pipeline = given.pipeline AND k.key = given.key
    JOIN taskplatform.runs r ON r.id = k.run_id
    JOIN taskplatform.work w ON w.run_id = r.id AND w.branch = ''
    WHERE {begun("k.run_id")} IS NULL
), put_off AS (
    UPDATE taskplatform.work w SET due_at = waiting.due
    FROM waiting WHERE w.id = waiting.work_id AND waiting.due IS NOT NULL
), renewed AS (
    UPDATE taskplatform.runs r
    SET input = waiting.input, version = r.version + 1,
        due_at = coalesce(waiting.due, r.due_at),
        deadline = r.deadline + coalesce(waiting.due - waiting.due_at, '0'),
        start_by = r.start_by + coalesce(waiting.due - waiting.due_at, '0')
    FROM waiting WHERE r.id = waiting.run_id
), noted AS (
    UPDATE taskplatform.keys k SET joined = waiting.id
    FROM waiting WHERE k.pipeline = waiting.pipeline AND k.key = waiting.key
)
SELECT id, run_id, status FROM waiting
"""


def gathered(rows: Sequence[NewRun]) -> tuple[list[NewRun], dict[UUID, UUID]]:
    """One row for each burst, on the last input of its rows; also which row stands for which."""
    first: dict[tuple[str, str | None], NewRun] = {}
    stands_for: dict[UUID, UUID] = {}
    kept: list[NewRun] = []
    for row in rows:
        if row.debounce is None:
            kept.append(row)
            continue
        place = row.pipeline, row.key
        if (before := first.get(place)) is None:
            first[place] = made = replace(row)
            kept.append(made)
        else:
            before.input = row.input
            stands_for[row.id] = before.id
    return kept, stands_for


def scattered(
    rows: Sequence[NewRun], found: Mapping[UUID, Enqueued], stands_for: Mapping[UUID, UUID]
) -> list[Enqueued]:
    """The runs of all rows in their order, also of those that another one stood for."""
    return [
        found[row.id]
        if row.id not in stands_for
        else replace(found[stands_for[row.id]], created=False)
        for row in rows
    ]


def join(rows: Sequence[NewRun], *, again: bool) -> Script[dict[UUID, Enqueued]]:
    """Let rows join the runs of their keys that have not begun; who did, and which run it is."""
    wanted = [row for row in rows if row.debounce is not None]
    if not wanted:
        return {}
    found: dict[UUID, Enqueued] = {}
    if again:
        [done] = yield [Statement(_DONE, {**_places(wanted), "calls": [row.id for row in wanted]})]
        found = {id: Enqueued(run, status, run == id) for id, run, status in done}
        wanted = [row for row in wanted if row.id not in found]
    if not wanted:
        return found
    places = _places(wanted)
    *_, joined = yield [
        Statement(_LOCK_RUNS, places),
        Statement(_LOCK_WORK, places),
        Statement(_JOIN, {"rows": orjson.dumps([_given(row) for row in wanted]).decode()}),
    ]
    return found | {id: Enqueued(run, status, False) for id, run, status in joined}


def _places(rows: Iterable[NewRun]) -> dict[str, list[str | None]]:
    return {"pipelines": [row.pipeline for row in rows], "keys": [row.key for row in rows]}


def _given(row: NewRun) -> dict[str, object]:
    assert row.debounce is not None
    return {
        "id": row.id,
        "pipeline": row.pipeline,
        "key": row.key,
        "input": orjson.Fragment(row.input),
        "period": row.debounce.period,
        "max_wait": row.debounce.max_wait,
    }
