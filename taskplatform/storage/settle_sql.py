"""The statements of settle, in the order in which they are executed.

Each takes its rows as one JSON array and joins the work row on the epoch, under the locks that
LOCK_RUNS and LOCK_WORK took in statements of their own.
"""

LOCK_RUNS = """
SELECT id FROM taskplatform.runs WHERE id = ANY (%(runs)s::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""

# Not IS NOT NULL: the planner would walk the index of all held work, once for each row given.
IS_HELD = "coalesce(w.holder, 0) > 0"
HELD = f"JOIN taskplatform.work w ON w.id = d.work_id AND w.epoch = d.epoch AND {IS_HELD}"

LOCK_WORK = f"""
SELECT w.id FROM json_to_recordset(%s::json) AS d(work_id bigint, epoch bigint, expected text)
JOIN taskplatform.work w ON w.id = d.work_id
WHERE w.epoch = d.epoch AND {IS_HELD} AND w.step = coalesce(d.expected, w.step)
ORDER BY w.id
FOR UPDATE OF w
"""


def _store_first(source: str) -> str:
    """Store the outputs that `source` has, of steps that have none."""
    return f"""
    INSERT INTO taskplatform.step_results AS old
        (run_id, step_name, output, version, attempt, started_at, finished_at, worker, epoch, log)
    SELECT run_id, step, coalesce(output, 'null'), version, attempt,
           clock_timestamp() - make_interval(secs => started_ago),
           clock_timestamp() - make_interval(secs => finished_ago), %(worker)s, epoch, log
    FROM {source}
"""


def _store(source: str) -> str:
    """Store the outputs that `source` has; an output of the same version stays as it is."""
    return f"""{_store_first(source)}
    ON CONFLICT (run_id, step_name) DO UPDATE
    SET output = excluded.output, version = excluded.version, attempt = excluded.attempt,
        started_at = excluded.started_at, finished_at = excluded.finished_at,
        worker = excluded.worker, epoch = excluded.epoch, log = excluded.log, reused_from = NULL
    WHERE old.version <> excluded.version
"""


RESULTS = _store(f"""(
    SELECT w.run_id, d.*
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text,
         output json, version integer, attempt integer, started_ago double precision,
         finished_ago double precision, log text)
    {HELD}
) AS made""")


# The plain case whole. It decides by nothing but the work rows that it writes, and an UPDATE that
# waited for a lock looks at its row anew; they are given in order of id, and joined in that order.
def _advance(stored: str) -> str:
    return f"""
WITH kept AS (
    UPDATE taskplatform.work w
    SET step = d.next, failures = 0, put_off = 0, alone = false, started_at = NULL,
        rest = NULL, pending = NULL, next_item = NULL, batch = NULL,
        progress_done = NULL, progress_total = NULL, heartbeat_at = NULL
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, next text, step text,
         output json, version integer, attempt integer, started_ago double precision,
         finished_ago double precision, log text)
    WHERE w.id = d.work_id AND w.epoch = d.epoch AND {IS_HELD}
    RETURNING w.id, w.run_id, d.*
), stored AS ({stored})
SELECT id FROM kept
"""


ADVANCE = _advance(_store("kept"))
# To look for a conflict costs a record of the log for each row; where there cannot be one, that
# there is one means that an earlier try was committed after all.
ADVANCE_FIRST = _advance(_store_first("kept"))


# The plain end whole: nobody's key ends with it, no handler hears of it. The run was locked before.
def _finish(stored: str) -> str:
    return f"""
WITH ended AS (
    DELETE FROM taskplatform.work w
    USING json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text,
          output json, version integer, attempt integer, started_ago double precision,
          finished_ago double precision, log text, output_step text,
          run_started_ago double precision)
    WHERE w.id = d.work_id AND w.epoch = d.epoch AND {IS_HELD}
    RETURNING w.id, w.run_id, d.*
), closed AS (
    UPDATE taskplatform.runs r
    SET status = 'succeeded', reason = NULL, due_at = NULL, waiting_for = NULL, error = NULL,
        output_step = ended.output_step, finished_at = clock_timestamp(), version = r.version + 1,
        started_at = coalesce(
            r.started_at, clock_timestamp() - make_interval(secs => ended.run_started_ago))
    FROM ended WHERE r.id = ended.run_id
), stored AS ({stored})
SELECT id FROM ended
"""


FINISH = _finish(_store("ended"))
FINISH_FIRST = _finish(_store_first("ended"))

ATTEMPTS = f"""
INSERT INTO taskplatform.step_attempts
    (run_id, step_name, number, outcome, error, started_at, finished_at, worker, epoch, alone, log)
SELECT w.run_id, d.step,
       coalesce(d.number, 1 + (SELECT coalesce(max(a.number), 0) FROM taskplatform.step_attempts a
                               WHERE a.run_id = w.run_id AND a.step_name = d.step)),
       d.outcome, d.error,
       coalesce(clock_timestamp() - make_interval(secs => d.started_ago), w.started_at),
       clock_timestamp() - make_interval(secs => d.finished_ago), %(worker)s, d.epoch, d.alone,
       d.log
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text,
     outcome text, error json, number integer, alone boolean, started_ago double precision,
     finished_ago double precision, log text)
{HELD}
ON CONFLICT (run_id, step_name, number) DO NOTHING
"""

END_RUNS = f"""
UPDATE taskplatform.runs r
SET status = d.status, reason = NULL, due_at = NULL, waiting_for = NULL, error = d.error,
    output_step = d.output_step, finished_at = clock_timestamp(), version = version + 1,
    started_at = coalesce(r.started_at, clock_timestamp() - make_interval(secs => d.started_ago))
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, status text,
     output_step text, error json, started_ago double precision)
{HELD}
WHERE r.id = w.run_id
"""

# As in enqueue, which sorts by code points whatever the collation: a batch of each would wait for
# the other otherwise.
LOCK_KEYS = """
SELECT key FROM taskplatform.keys WHERE run_id = ANY (%s::uuid[])
ORDER BY pipeline COLLATE "C", key COLLATE "C" FOR NO KEY UPDATE
"""

END_KEYS = f"""
UPDATE taskplatform.keys k
SET expires_at = clock_timestamp() + make_interval(secs => coalesce(d.key_seconds, 0))
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint,
     key_seconds double precision)
{HELD}
WHERE k.run_id = w.run_id
"""

MARK_RUNS = f"""
UPDATE taskplatform.runs r
SET status = 'running', reason = NULL, due_at = NULL, waiting_for = NULL, version = version + 1,
    started_at = coalesce(r.started_at, clock_timestamp())
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, mark boolean)
{HELD}
WHERE r.id = w.run_id AND d.mark AND r.status <> 'running'
"""

# Who was claimed and then refused by a limit has not begun; the claim has said that it has. Not
# EXISTS, which may be planned as a hash of all results.
WAIT_RUNS = f"""
UPDATE taskplatform.runs r
SET status = CASE WHEN d.delay IS NULL OR d.held THEN 'queued' ELSE 'waiting' END,
    reason = CASE WHEN d.delay IS NOT NULL THEN d.reason END,
    due_at = CASE WHEN d.delay < 'infinity' AND NOT d.held
                  THEN clock_timestamp() + make_interval(secs => d.delay) END,
    waiting_for = CASE WHEN d.delay IS NOT NULL THEN d.waiting_for END, version = version + 1,
    error = coalesce(r.error, d.run_error),
    started_at = CASE
        WHEN NOT d.refused OR w.tried OR w.failing OR coalesce(w.rest, 'canvas') <> 'canvas'
            OR (SELECT true FROM taskplatform.step_results s
                WHERE s.run_id = r.id AND s.reused_from IS NULL LIMIT 1)
        THEN coalesce(r.started_at, clock_timestamp() - make_interval(secs => d.started_ago)) END
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, delay double precision,
     reason text, waiting_for text, started_ago double precision, run_error json, held boolean,
     refused boolean)
{HELD}
WHERE r.id = w.run_id
"""

KEEP_WORK = f"""
UPDATE taskplatform.work w
SET step = d.step, failures = 0, put_off = 0, alone = false,
    rest = NULL, pending = NULL, next_item = NULL, batch = NULL,
    progress_done = NULL, progress_total = NULL, heartbeat_at = NULL,
    started_at = CASE WHEN d.mark THEN clock_timestamp() END
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text, mark boolean)
WHERE w.id = d.work_id AND w.epoch = d.epoch AND {IS_HELD}
"""

PUT_BACK_WORK = f"""
UPDATE taskplatform.work w
SET holder = NULL, started_at = NULL, step = d.step, queue = d.queue, failures = d.failures,
    put_off = d.put_off, tried = w.tried OR d.tried,
    alone = d.alone OR (w.alone AND w.step = d.step AND NOT d.tried),
    progress_done = coalesce(d.done, CASE WHEN w.step = d.step THEN w.progress_done END),
    progress_total = coalesce(d.total, CASE WHEN w.step = d.step THEN w.progress_total END),
    heartbeat_at = CASE WHEN w.step = d.step THEN w.heartbeat_at END,
    due_at = CASE WHEN d.delay < 'infinity'
                  THEN clock_timestamp() + make_interval(secs => d.delay)
                  WHEN d.delay IS NOT NULL THEN 'infinity'::timestamptz END,
    reason = CASE WHEN d.delay IS NOT NULL THEN d.reason END,
    waiting_for = CASE WHEN d.delay IS NOT NULL THEN d.waiting_for END,
    rest = CASE WHEN d.rest IS NOT NULL THEN nullif(d.rest, '')
                WHEN w.step = d.step THEN w.rest END,
    pending = CASE WHEN coalesce(d.rest, 'branches') = 'branches' AND (w.step = d.step
                        OR d.rest IS NOT NULL) THEN w.pending END,
    next_item = CASE WHEN coalesce(d.rest, 'branches') = 'branches' AND (w.step = d.step
                          OR d.rest IS NOT NULL) THEN w.next_item END,
    failing = CASE WHEN w.failing OR d.failing THEN true END,
    gate = d.gate, gate_weight = d.gate_weight, gate_share = d.gate_share, gathered = NULL,
    batch = CASE WHEN w.step = d.step THEN w.batch END
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text, queue text,
     delay double precision, failures integer, put_off double precision, tried boolean,
     alone boolean, reason text, waiting_for text, rest text, failing boolean,
     done double precision, total double precision,
     gate text, gate_weight integer, gate_share double precision)
WHERE w.id = d.work_id AND w.epoch = d.epoch AND {IS_HELD}
"""

END_WORK = f"""
DELETE FROM taskplatform.work w
USING json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint)
WHERE w.id = d.work_id AND w.epoch = d.epoch AND {IS_HELD}
"""

HANDLER_RUNS = f"""
WITH held AS MATERIALIZED (
    SELECT d.* FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, id uuid,
         pipeline text, step text, queue text, input json)
    {HELD}
), made AS (
    INSERT INTO taskplatform.runs (id, pipeline, status, input)
    SELECT id, pipeline, 'queued', input FROM held
)
INSERT INTO taskplatform.work (run_id, pipeline, step, queue)
SELECT id, pipeline, step, queue FROM held
"""

# Joins, not EXISTS, which is planned as a hash of the whole table.
COMMITTED = """
SELECT d.work_id FROM json_to_recordset(%(rows)s::json)
    AS d(work_id bigint, run_id uuid, epoch bigint, step text, outcome text, position integer)
JOIN taskplatform.step_results s ON s.run_id = d.run_id AND s.step_name = d.step
WHERE d.outcome IS NULL AND d.position IS NULL AND s.epoch = d.epoch
UNION ALL
SELECT d.work_id FROM json_to_recordset(%(rows)s::json)
    AS d(work_id bigint, run_id uuid, epoch bigint, step text, outcome text, position integer)
JOIN taskplatform.items i
    ON i.run_id = d.run_id AND i.step_name = d.step AND i.position = d.position
WHERE d.outcome IS NULL AND i.epoch = d.epoch
UNION ALL
SELECT d.work_id FROM json_to_recordset(%(rows)s::json)
    AS d(work_id bigint, run_id uuid, epoch bigint, step text, outcome text)
JOIN taskplatform.step_attempts a ON a.run_id = d.run_id AND a.step_name = d.step
WHERE a.outcome = d.outcome AND a.epoch = d.epoch
"""
