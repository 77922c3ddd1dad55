"""Databases of the platform that have seen much: filled by SQL, with rows as runs leave them."""

from collections.abc import Callable

import psycopg

RUNS = 1_000_000
WAITING = 100_000

# As five steps leave them: when and where each attempt was made, under which epoch, and what the
# step returned. Ids and times rise over the last 25 days, as far back as runs are kept.
_FINISHED = """
WITH made AS (
    SELECT n, clock_timestamp() - interval '25 days' * (1 - n::float8 / %(runs)s) AS at
    FROM generate_series(1, %(runs)s) AS n
)
INSERT INTO taskplatform.runs (id, pipeline, key, owner, status, input, output_step, created_at,
                               started_at, finished_at, version)
SELECT uuidv7(at - clock_timestamp()), 'five', CASE WHEN n %% 4 = 0 THEN 'order-' || n END,
       CASE WHEN n %% 2 = 0 THEN 'user-' || n %% 5000 END, 'succeeded',
       json_build_object('number', n), 'fifth', at, at + interval '3 ms', at + interval '9 ms', 2
FROM made ORDER BY n
"""
_RESULTS = """
INSERT INTO taskplatform.step_results (run_id, step_name, output, attempt, started_at, finished_at,
                                       worker, epoch)
SELECT id, step, input, 1, started_at + place * interval '1 ms',
       started_at + place * interval '1 ms' + interval '200 us',
       'celery@worker-' || substr(id::text, 36), nextval('taskplatform.epochs')
FROM taskplatform.runs
CROSS JOIN unnest(ARRAY['first', 'second', 'third', 'fourth', 'fifth'])
           WITH ORDINALITY AS steps (step, place)
ORDER BY id, place
"""
_WAITING = """
WITH stored AS (
    INSERT INTO taskplatform.runs (id, pipeline, status, reason, due_at, input, started_at)
    SELECT uuidv7(), 'five', 'waiting', 'retry', now() + interval '1 day' + n * interval '1 s',
           json_build_object('number', n), clock_timestamp()
    FROM generate_series(1, %(waiting)s) AS n
    RETURNING id, due_at
)
INSERT INTO taskplatform.work (run_id, pipeline, step, queue, due_at, reason, tried, failures)
SELECT id, 'five', 'first', 'taskplatform', due_at, 'retry', true, 1 FROM stored ORDER BY id
"""
_LEFT_ALONE = "ALTER TABLE taskplatform.{} SET (autovacuum_enabled = false)"
_LOOKED_AFTER = "ALTER TABLE taskplatform.{} RESET (autovacuum_enabled)"


def fill_million(url: str) -> None:
    """Store finished runs of five steps, and let no one analyse them."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in ("runs", "step_results"):
            connection.execute(_LEFT_ALONE.format(table).encode())
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET work_mem = '256MB'")
        connection.execute(_FINISHED, {"runs": RUNS})
        connection.execute(_RESULTS)


def analyse(url: str) -> None:
    """Let autovacuum at them, after it has been there: visibility and statistics are known."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in ("runs", "step_results"):
            connection.execute(_LOOKED_AFTER.format(table).encode())
        connection.execute("VACUUM ANALYZE")


def fill_waiting(url: str) -> None:
    """Store runs that wait for a retry tomorrow."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_WAITING, {"waiting": WAITING})
        connection.execute("VACUUM ANALYZE")


# Of what it is made, and how.
FILLS: dict[str, tuple[str | None, tuple[Callable[[str], None], ...]]] = {
    "empty": (None, ()),
    "million-never-analysed": (None, (fill_million,)),
    "million": ("million-never-analysed", (analyse,)),
    "waiting": (None, (fill_waiting,)),
}
