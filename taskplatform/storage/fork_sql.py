"""The statements by which a row of work becomes the join of branches. All under the run's lock."""

from taskplatform.storage.settle_sql import HELD

FORK_GROUP = f"""
WITH held AS MATERIALIZED (
    SELECT w.id, w.run_id, w.pipeline, w.priority, w.rank, w.lane, w.tried, d.members
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, members json)
    {HELD}
)
INSERT INTO taskplatform.work
    (run_id, branch, pipeline, step, queue, priority, rank, lane, parent, tried)
SELECT held.run_id, one.step, held.pipeline, one.step, one.queue, held.priority, held.rank,
       held.lane, held.id, held.tried
FROM held CROSS JOIN LATERAL json_to_recordset(held.members) AS one(step text, queue text)
ON CONFLICT (run_id, branch) DO NOTHING
"""

COUNT_BRANCHES = f"""
UPDATE taskplatform.work j
SET pending = (SELECT count(*) FROM taskplatform.work b
               WHERE b.run_id = j.run_id AND b.parent = j.id),
    next_item = NULL
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint)
{HELD}
WHERE j.id = w.id
"""

# What an earlier version of the step made of the items is not what this one would.
FORGET_ITEMS = f"""
DELETE FROM taskplatform.items i
USING (
    SELECT w.run_id, d.step, d.version
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text,
         version integer)
    {HELD}
) AS held
WHERE i.run_id = held.run_id AND i.step_name = held.step AND i.version <> held.version
"""

# Items are stored when the map is reached for the first time; a retry finds them as they were.
STORE_ITEMS = f"""
INSERT INTO taskplatform.items (run_id, step_name, position, item, version)
SELECT w.run_id, d.step, given.place - 1, given.item, d.version
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text,
     version integer, items json)
{HELD}
CROSS JOIN LATERAL json_array_elements(d.items) WITH ORDINALITY AS given(item, place)
WHERE NOT EXISTS (SELECT FROM taskplatform.items i
                  WHERE i.run_id = w.run_id AND i.step_name = d.step)
"""

FORK_MAP = f"""
WITH held AS MATERIALIZED (
    SELECT w.id, w.run_id, w.pipeline, w.priority, w.rank, w.lane, w.tried, d.step, d.queue,
           d.width
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text,
         queue text, width integer)
    {HELD}
), places AS MATERIALIZED (
    SELECT held.*, first.positions, rest.many
    FROM held
    CROSS JOIN LATERAL (
        SELECT array_agg(position ORDER BY position) AS positions FROM (
            SELECT position FROM taskplatform.items
            WHERE run_id = held.run_id AND step_name = held.step AND finished_at IS NULL
            ORDER BY position LIMIT held.width
        ) AS free
    ) AS first
    CROSS JOIN LATERAL (
        SELECT count(*) AS many FROM taskplatform.items
        WHERE run_id = held.run_id AND step_name = held.step AND finished_at IS NULL
    ) AS rest
), opened AS (
    INSERT INTO taskplatform.work
        (run_id, branch, pipeline, step, queue, priority, rank, lane, parent, item, tried)
    SELECT run_id, step || '[' || one.position || ']', pipeline, step, queue, priority, rank,
           lane, id, one.position, tried
    FROM places CROSS JOIN LATERAL unnest(places.positions) AS one(position)
    ON CONFLICT (run_id, branch) DO NOTHING
)
UPDATE taskplatform.work w
SET pending = places.many,
    next_item = coalesce(places.positions[cardinality(places.positions)] + 1, 0)
FROM places WHERE w.id = places.id
"""

# A child owns no key: its run is wanted for this parent, whoever else has one. A branch that was
# still held when its run failed for good makes none. Without a priority of its own it stands where
# its parent stands, and without a fair key in the same lane.
CHILD_RUNS = f"""
WITH held AS MATERIALIZED (
    SELECT w.run_id AS parent, w.priority AS inherited, w.rank, w.lane, r.owner AS parent_owner, d.*
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, id uuid,
         parent_step text, pipeline text, step text, queue text, input json, key text, owner text,
         priority integer, ageing double precision, fair_key text,
         run_timeout double precision, queue_timeout double precision)
    {HELD}
    JOIN taskplatform.runs r ON r.id = w.run_id
    JOIN taskplatform.work main
        ON main.run_id = w.run_id AND main.branch = '' AND main.failing IS NOT TRUE
), made AS (
    INSERT INTO taskplatform.runs (id, pipeline, status, input, key, owner, priority, forced,
                                   parent_run, parent_step, deadline, start_by,
                                   fair_key)
    SELECT id, pipeline, 'queued', input, key, coalesce(owner, parent_owner),
           coalesce(priority, inherited), true, parent, parent_step,
           clock_timestamp() + make_interval(secs => run_timeout),
           clock_timestamp() + make_interval(secs => queue_timeout),
           coalesce(fair_key, nullif(lane, ''))
    FROM held
)
INSERT INTO taskplatform.work (run_id, pipeline, step, queue, priority, lane, rank)
SELECT id, pipeline, step, queue, coalesce(priority, inherited), coalesce(fair_key, lane),
       CASE WHEN priority IS NULL THEN rank
            ELSE (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
                 - (priority * ageing * 1000000)::bigint END
FROM held
"""
