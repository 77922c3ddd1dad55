"""The statements by which branches end and their join goes on.

All of them under the run's lock, which was taken in a statement of its own: whoever changes a
branch of a run holds it, so what is counted here cannot change meanwhile.
"""

from taskplatform.storage.settle_sql import HELD, IS_HELD

# The rows are there; an upsert finds each by its key, whatever the planner believes. An UPDATE
# walked all items of the run for every batch of them.
ITEM_RESULTS = f"""
INSERT INTO taskplatform.items AS i
    (run_id, step_name, position, item, version, output, failed, attempt, started_at,
     finished_at, worker, epoch, log)
SELECT w.run_id, d.step, d.position, 'null', d.version, coalesce(d.output, 'null'), d.failed,
       d.attempt, clock_timestamp() - make_interval(secs => d.started_ago),
       clock_timestamp() - make_interval(secs => d.finished_ago), %(worker)s, d.epoch, d.log
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text, output json,
     version integer, failed boolean, attempt integer, position integer,
     started_ago double precision, finished_ago double precision, log text)
{HELD}
ON CONFLICT (run_id, step_name, position) DO UPDATE
SET output = excluded.output, failed = excluded.failed, attempt = excluded.attempt,
    started_at = excluded.started_at, finished_at = excluded.finished_at,
    worker = excluded.worker, epoch = excluded.epoch, log = excluded.log
WHERE i.finished_at IS NULL
"""

# The first error is the run's; from now on it starts nothing but compensations.
FAIL_RUNS = f"""
WITH failed AS (
    UPDATE taskplatform.work main SET failing = true
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint)
    {HELD}
    WHERE main.run_id = w.run_id AND main.branch = ''
)
UPDATE taskplatform.runs r SET error = coalesce(r.error, d.run_error)
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, run_error json)
{HELD}
WHERE r.id = w.run_id
"""

# A place that has become free in a map goes to the next item without a row.
JOIN = f"""
WITH ended AS (
    DELETE FROM taskplatform.work w
    USING json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint)
    WHERE w.id = d.work_id AND w.epoch = d.epoch AND {IS_HELD}
    RETURNING w.parent
), counted AS MATERIALIZED (
    SELECT parent, count(*)::integer AS many FROM ended GROUP BY parent
), places AS MATERIALIZED (
    SELECT counted.parent, counted.many, next.positions
    FROM counted
    JOIN taskplatform.work p ON p.id = counted.parent
    CROSS JOIN LATERAL (
        SELECT array_agg(position ORDER BY position) AS positions FROM (
            SELECT position FROM taskplatform.items
            WHERE run_id = p.run_id AND step_name = p.step AND position >= p.next_item
              AND finished_at IS NULL
            ORDER BY position LIMIT counted.many
        ) AS free
    ) AS next
), opened AS (
    INSERT INTO taskplatform.work
        (run_id, branch, pipeline, step, queue, priority, rank, lane, parent, item, tried)
    SELECT p.run_id, p.step || '[' || one.position || ']', p.pipeline, p.step, p.queue,
           p.priority, p.rank, p.lane, p.id, one.position, p.tried
    FROM places
    JOIN taskplatform.work p ON p.id = places.parent
    CROSS JOIN LATERAL unnest(places.positions) AS one(position)
    ON CONFLICT (run_id, branch) DO NOTHING
)
UPDATE taskplatform.work p
SET pending = p.pending - places.many,
    next_item = coalesce(places.positions[cardinality(places.positions)] + 1, p.next_item)
FROM places WHERE p.id = places.parent
"""

# What is in nobody's hands is dropped from a run that fails; what is may end.
SWEEP = """
DELETE FROM taskplatform.work b
USING taskplatform.work main
WHERE main.run_id = ANY (%(runs)s::uuid[]) AND main.branch = '' AND main.failing
  AND b.run_id = main.run_id AND b.branch <> '' AND b.holder IS NULL
"""

# It still is a join, at a step that has ended, until somebody takes it to what undoes that.
FAILING_GO_ON = """
UPDATE taskplatform.work main
SET due_at = NULL, pending = NULL, next_item = NULL, reason = NULL
WHERE main.run_id = ANY (%(runs)s::uuid[]) AND main.branch = '' AND main.failing
  AND main.rest = 'branches' AND main.holder IS NULL AND main.due_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM taskplatform.work b
                  WHERE b.run_id = main.run_id AND b.branch <> '')
RETURNING main.queue
"""

# A map is done when each of its items is; changed code may have dropped some.
COMPLETE = """
WITH complete AS MATERIALIZED (
    SELECT id, run_id, step, epoch, next_item FROM taskplatform.work
    WHERE run_id = ANY (%(runs)s::uuid[]) AND rest = 'branches' AND pending <= 0
      AND holder IS NULL AND due_at IS NOT NULL AND NOT coalesce(failing, false)
), collected AS (
    INSERT INTO taskplatform.step_results AS old
        (run_id, step_name, output, version, attempt, started_at, finished_at, worker, epoch)
    SELECT run_id, step, list.output, list.version, 1, list.started_at, clock_timestamp(),
           %(worker)s, epoch
    FROM complete CROSS JOIN LATERAL (
        SELECT ('[' || coalesce(string_agg(output::text, ',' ORDER BY position), '') || ']')::json
                   AS output,
               max(version) AS version, min(started_at) AS started_at,
               bool_and(finished_at IS NOT NULL) AS done
        FROM taskplatform.items WHERE run_id = complete.run_id AND step_name = complete.step
    ) AS list
    WHERE next_item IS NOT NULL AND list.done
    ON CONFLICT (run_id, step_name) DO UPDATE
    SET output = excluded.output, version = excluded.version, attempt = excluded.attempt,
        started_at = excluded.started_at, finished_at = excluded.finished_at,
        worker = excluded.worker, epoch = excluded.epoch, reused_from = NULL
)
UPDATE taskplatform.work w SET due_at = NULL, reason = NULL
FROM complete WHERE w.id = complete.id
RETURNING w.queue
"""

# Whoever waited for a run that has ended looks what became of it.
WAKE_PARENTS = """
UPDATE taskplatform.work p SET due_at = NULL, reason = NULL, waiting_for = NULL
FROM taskplatform.runs c
WHERE c.id = ANY (%(runs)s::uuid[]) AND c.finished_at IS NOT NULL
  AND p.run_id = c.parent_run AND p.step = c.parent_step AND p.rest = 'child'
  AND p.holder IS NULL AND p.due_at IS NOT NULL
RETURNING p.queue
"""

# A child may have ended while somebody took the row that waits for it to look at it.
WAKE_MISSED = """
UPDATE taskplatform.work p SET due_at = NULL, reason = NULL, waiting_for = NULL
WHERE p.run_id = ANY (%(runs)s::uuid[]) AND p.rest = 'child' AND p.reason = 'children'
  AND p.holder IS NULL AND p.due_at IS NOT NULL
  AND (SELECT finished_at FROM taskplatform.runs c
       WHERE c.parent_run = p.run_id AND c.parent_step = p.step
       ORDER BY c.id DESC LIMIT 1) IS NOT NULL
"""

# A run with several branches is running if any body runs, else it is what the branch that is due
# first is. While some are ready a running one stays so, since they are claimed in a moment, unless
# somebody has just given one back. Not EXISTS, which may be planned as a hash of all work.
DERIVE = """
UPDATE taskplatform.runs r
SET status = now.status, reason = now.reason, due_at = now.due_at, waiting_for = now.waiting_for,
    version = r.version + 1
FROM unnest(%(runs)s::uuid[]) AS given(id)
CROSS JOIN LATERAL (SELECT status FROM taskplatform.runs WHERE id = given.id LIMIT 1) AS old
CROSS JOIN LATERAL (
    SELECT CASE WHEN old.status = 'running' AND NOT %(given_back)s AND (
                   SELECT true FROM taskplatform.work
                   WHERE run_id = given.id AND (holder IS NOT NULL OR due_at IS NULL) LIMIT 1
               ) THEN 'running'
               WHEN (
                   SELECT true FROM taskplatform.work
                   WHERE run_id = given.id AND holder IS NOT NULL LIMIT 1
               ) THEN 'running'
               WHEN (
                   SELECT true FROM taskplatform.work
                   WHERE run_id = given.id AND due_at IS NULL LIMIT 1
               ) THEN 'queued'
               ELSE 'waiting' END AS status
) AS state
LEFT JOIN LATERAL (
    SELECT coalesce(reason, 'children') AS reason, due_at, waiting_for FROM taskplatform.work
    WHERE run_id = given.id AND state.status = 'waiting'
    ORDER BY rest IS NOT DISTINCT FROM 'branches', due_at, id LIMIT 1
) AS first ON true
CROSS JOIN LATERAL (
    SELECT state.status, first.reason,
           CASE WHEN first.due_at < 'infinity' THEN first.due_at END AS due_at, first.waiting_for
) AS now
WHERE r.id = given.id AND r.finished_at IS NULL
  AND (r.status, r.reason, r.due_at, r.waiting_for)
      IS DISTINCT FROM (now.status, now.reason, now.due_at, now.waiting_for)
"""
