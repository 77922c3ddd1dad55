"""The statements by which a row of work becomes the join of branches. All under the run's lock."""

from taskplatform.storage.settle_sql import HELD

FORK_GROUP = f"""
WITH held AS MATERIALIZED (
    SELECT w.id, w.run_id, w.pipeline, w.priority, w.tried, d.members
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, members json)
    {HELD}
), opened AS (
    INSERT INTO taskplatform.work (run_id, branch, pipeline, step, queue, priority, parent, tried)
    SELECT held.run_id, one.step, held.pipeline, one.step, one.queue, held.priority, held.id,
           held.tried
    FROM held CROSS JOIN LATERAL json_to_recordset(held.members) AS one(step text, queue text)
    ON CONFLICT (run_id, branch) DO NOTHING
    RETURNING parent
)
UPDATE taskplatform.work w
SET pending = (SELECT count(*) FROM opened WHERE opened.parent = held.id), next_item = NULL
FROM held WHERE w.id = held.id
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
    SELECT w.id, w.run_id, w.pipeline, w.priority, w.tried, d.step, d.queue, d.width
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text,
         queue text, width integer)
    {HELD}
), opened AS (
    INSERT INTO taskplatform.work
        (run_id, branch, pipeline, step, queue, priority, parent, item, tried)
    SELECT held.run_id, held.step || '[' || one.position || ']', held.pipeline, held.step,
           held.queue, held.priority, held.id, one.position, held.tried
    FROM held CROSS JOIN LATERAL (
        SELECT position FROM taskplatform.items
        WHERE run_id = held.run_id AND step_name = held.step AND finished_at IS NULL
        ORDER BY position LIMIT held.width
    ) AS one
    ORDER BY one.position
    ON CONFLICT (run_id, branch) DO NOTHING
    RETURNING parent, item
)
UPDATE taskplatform.work w
SET pending = (SELECT count(*) FROM taskplatform.items i
               WHERE i.run_id = held.run_id AND i.step_name = held.step AND finished_at IS NULL),
    next_item = coalesce((SELECT max(item) + 1 FROM opened WHERE opened.parent = held.id), 0)
FROM held WHERE w.id = held.id
"""

# A child owns no key: its run is wanted for this parent, whoever else has one.
CHILD_RUNS = f"""
WITH held AS MATERIALIZED (
    SELECT w.run_id AS parent, w.priority AS inherited, r.owner AS parent_owner, d.*
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, id uuid,
         parent_step text, pipeline text, step text, queue text, input json, key text, owner text,
         priority integer, run_timeout double precision, queue_timeout double precision)
    {HELD}
    JOIN taskplatform.runs r ON r.id = w.run_id
), made AS (
    INSERT INTO taskplatform.runs (id, pipeline, status, input, key, owner, priority, forced,
                                   parent_run, parent_step, deadline, start_by)
    SELECT id, pipeline, 'queued', input, key, coalesce(owner, parent_owner),
           coalesce(priority, inherited), true, parent, parent_step,
           clock_timestamp() + make_interval(secs => run_timeout),
           clock_timestamp() + make_interval(secs => queue_timeout)
    FROM held
)
INSERT INTO taskplatform.work (run_id, pipeline, step, queue, priority)
SELECT id, pipeline, step, queue, coalesce(priority, inherited) FROM held
"""
