"""Audit: triggers that note what is committed, in which order, for a judge outside.

In a schema of its own, made for a trial and dropped with it. Each trigger fires under the lock of
the row that it is about, so the numbers it draws are in the order in which locks were granted.
"""

from typing import Any

from taskplatform.storage.connection import Session

_INSTALL = """
CREATE SCHEMA IF NOT EXISTS taskplatform_audit;
CREATE SEQUENCE taskplatform_audit.n;
CREATE TABLE taskplatform_audit.commits (
    n bigint, at timestamptz, run_id uuid, step text, epoch bigint, output json, reused boolean);
CREATE TABLE taskplatform_audit.grants (
    n bigint, at timestamptz, work_id bigint, run_id uuid, branch text, epoch bigint);
CREATE TABLE taskplatform_audit.states (
    n bigint, at timestamptz, run_id uuid, status text, reason text);
CREATE TABLE taskplatform_audit.refused (worker uuid PRIMARY KEY, many bigint);

CREATE FUNCTION taskplatform_audit.committed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.commits VALUES (nextval('taskplatform_audit.n'),
        clock_timestamp(), NEW.run_id, NEW.step_name, NEW.epoch, NEW.output,
        NEW.reused_from IS NOT NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON taskplatform.step_results
    FOR EACH ROW EXECUTE FUNCTION taskplatform_audit.committed();

CREATE FUNCTION taskplatform_audit.item_committed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.commits VALUES (nextval('taskplatform_audit.n'),
        clock_timestamp(), NEW.run_id, NEW.step_name || '[' || NEW.position || ']', NEW.epoch,
        NEW.output, false);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON taskplatform.items
    FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL AND NOT coalesce(NEW.failed, false))
    EXECUTE FUNCTION taskplatform_audit.item_committed();

CREATE FUNCTION taskplatform_audit.granted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.grants VALUES (nextval('taskplatform_audit.n'),
        clock_timestamp(), NEW.id, NEW.run_id, NEW.branch, NEW.epoch);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE OF holder ON taskplatform.work
    FOR EACH ROW WHEN (NEW.holder IS NOT NULL AND OLD.holder IS DISTINCT FROM NEW.holder)
    EXECUTE FUNCTION taskplatform_audit.granted();

CREATE FUNCTION taskplatform_audit.changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.states VALUES (nextval('taskplatform_audit.n'),
        clock_timestamp(), NEW.id, NEW.status, NEW.reason);
    RETURN NULL;
END $$;
CREATE TRIGGER audit_new AFTER INSERT ON taskplatform.runs
    FOR EACH ROW EXECUTE FUNCTION taskplatform_audit.changed();
CREATE TRIGGER audit AFTER UPDATE OF status ON taskplatform.runs
    FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION taskplatform_audit.changed();

CREATE FUNCTION taskplatform_audit.counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.refused VALUES (NEW.id, NEW.stale_writes_refused)
    ON CONFLICT (worker) DO UPDATE SET many = excluded.many;
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE OF stale_writes_refused ON taskplatform.workers
    FOR EACH ROW EXECUTE FUNCTION taskplatform_audit.counted();
"""

_UNINSTALL = "DROP SCHEMA IF EXISTS taskplatform_audit CASCADE"

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::double precision"

_DUMP = {
    "runs": """
        SELECT r.id::text, pipeline, key, key IS NOT NULL AND NOT forced AND replay_of IS NULL
               AS owns_key, request_id AS request, status, reason,
               coalesce(replay_of, parent_run)::text AS made_by
        FROM taskplatform.runs r
    """,
    "results": """
        SELECT run_id::text AS run, step_name AS step, output, attempt, epoch,
               reused_from IS NOT NULL AS reused
        FROM taskplatform.step_results
        UNION ALL
        SELECT run_id::text, step_name || '[' || position || ']', output, attempt, epoch, false
        FROM taskplatform.items WHERE finished_at IS NOT NULL AND NOT coalesce(failed, false)
    """,
    "attempts": """
        SELECT run_id::text AS run, step_name AS step, number, outcome, epoch
        FROM taskplatform.step_attempts
    """,
    "commits": """
        SELECT n, extract(epoch FROM at)::double precision AS wall, run_id::text AS run, step,
               epoch, output, reused
        FROM taskplatform_audit.commits
    """,
    "grants": "SELECT n, run_id::text AS run, branch, epoch FROM taskplatform_audit.grants",
    "states": """
        SELECT n, extract(epoch FROM at)::double precision AS wall, run_id::text AS run, status
        FROM taskplatform_audit.states
    """,
}

_HELD = "SELECT count(*) FROM taskplatform.work WHERE holder IS NOT NULL"
_REFUSED = "SELECT coalesce(sum(many), 0)::bigint FROM taskplatform_audit.refused"
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
_UNFINISHED = (
    "SELECT count(*) FROM taskplatform.runs WHERE finished_at IS NULL OR status = 'failed'"
)

_OPEN = "SELECT count(*) FROM taskplatform.runs WHERE finished_at IS NULL"
_ERRORS = """
SELECT (error ->> 'type') || ': ' || (error ->> 'message') FROM taskplatform.runs
WHERE status = 'failed'
"""

# A run that has not ended has work, and work that nobody can take has a moment or a reason.
_STUCK = """
SELECT r.id::text FROM taskplatform.runs r
WHERE r.finished_at IS NULL AND NOT EXISTS (
    SELECT FROM taskplatform.work w WHERE w.run_id = r.id
      AND (w.holder IS NOT NULL OR w.due_at IS NULL OR w.reason IS NOT NULL
           OR w.due_at < 'infinity'))
ORDER BY 1
"""


PARTS = tuple(_DUMP)


def install(connection: Session) -> None:
    """Begin to note; what is there already is left as it is."""
    connection.execute(_INSTALL)


def uninstall(connection: Session) -> None:
    """End it, and forget what was noted."""
    connection.execute(_UNINSTALL)


def now(connection: Session) -> float:
    """The database's clock, in seconds."""
    return float(_one(connection, _CLOCK))


def rows(connection: Session, what: str) -> list[dict[str, Any]]:
    """The rows of one part of the dump; outputs are the bytes that were stored."""
    cursor = connection.execute(_DUMP[what], prepare=False)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def held(connection: Session) -> int:
    """How many work rows somebody holds."""
    return int(_one(connection, _HELD))


def refused(connection: Session) -> int:
    """How many late writes all workers had refused, those that are gone included."""
    return int(_one(connection, _REFUSED))


def deadlocks(connection: Session) -> int:
    """How many deadlocks the server had to end in this database."""
    return int(_one(connection, _DEADLOCKS))


def unfinished(connection: Session) -> int:
    """How many runs have not come to a good end or a cancel."""
    return int(_one(connection, _UNFINISHED))


def open_runs(connection: Session) -> int:
    """How many runs have not ended."""
    return int(_one(connection, _OPEN))


def errors(connection: Session) -> list[str]:
    """Of what each failed run died."""
    return [row[0] or "unknown" for row in connection.execute(_ERRORS)]


def stuck(connection: Session) -> list[str]:
    """The runs that nothing will ever move."""
    return [row[0] for row in connection.execute(_STUCK)]


def _one(connection: Session, statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]
