"""An audit of commits, grants and states, in the order in which they happened; for trials only.

It has a schema of its own, which no migration knows. Its triggers only append, to tables without
an index, so that they take no lock that anybody could wait for.
"""

from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row

from taskplatform.storage.connection import Session

_INSTALL = """
CREATE SCHEMA IF NOT EXISTS taskplatform_audit;
CREATE SEQUENCE IF NOT EXISTS taskplatform_audit.numbers;

CREATE TABLE IF NOT EXISTS taskplatform_audit.commits (
    n bigint NOT NULL DEFAULT nextval('taskplatform_audit.numbers'),
    wall timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id uuid NOT NULL, step text NOT NULL, epoch bigint NOT NULL, output json NOT NULL,
    reused boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS taskplatform_audit.grants (
    n bigint NOT NULL DEFAULT nextval('taskplatform_audit.numbers'),
    wall timestamptz NOT NULL DEFAULT clock_timestamp(),
    work bigint NOT NULL, run_id uuid NOT NULL, branch text NOT NULL, epoch bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS taskplatform_audit.states (
    n bigint NOT NULL DEFAULT nextval('taskplatform_audit.numbers'),
    wall timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id uuid NOT NULL, status text NOT NULL, reason text
);
CREATE TABLE IF NOT EXISTS taskplatform_audit.refusals (
    n bigint NOT NULL DEFAULT nextval('taskplatform_audit.numbers'),
    wall timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker text NOT NULL, many bigint NOT NULL
);

CREATE OR REPLACE FUNCTION taskplatform_audit.result() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.commits (run_id, step, epoch, output, reused)
    VALUES (NEW.run_id, NEW.step_name, NEW.epoch, NEW.output, NEW.reused_from IS NOT NULL);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION taskplatform_audit.item() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.commits (run_id, step, epoch, output, reused)
    VALUES (NEW.run_id, NEW.step_name || '[' || NEW.position || ']', NEW.epoch, NEW.output, false);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION taskplatform_audit.granted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.grants (work, run_id, branch, epoch)
    VALUES (NEW.id, NEW.run_id, NEW.branch, NEW.epoch);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION taskplatform_audit.state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.states (run_id, status, reason)
    VALUES (NEW.id, NEW.status, NEW.reason);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION taskplatform_audit.refusal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taskplatform_audit.refusals (worker, many)
    VALUES (NEW.name, NEW.stale_writes_refused - OLD.stale_writes_refused);
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER audit_result AFTER INSERT OR UPDATE ON taskplatform.step_results
    FOR EACH ROW EXECUTE FUNCTION taskplatform_audit.result();
CREATE OR REPLACE TRIGGER audit_item AFTER INSERT OR UPDATE OF output, epoch ON taskplatform.items
    FOR EACH ROW WHEN (NEW.output IS NOT NULL) EXECUTE FUNCTION taskplatform_audit.item();
CREATE OR REPLACE TRIGGER audit_grant AFTER UPDATE OF epoch ON taskplatform.work
    FOR EACH ROW WHEN (NEW.epoch <> OLD.epoch) EXECUTE FUNCTION taskplatform_audit.granted();
CREATE OR REPLACE TRIGGER audit_first_state AFTER INSERT ON taskplatform.runs
    FOR EACH ROW EXECUTE FUNCTION taskplatform_audit.state();
CREATE OR REPLACE TRIGGER audit_state AFTER UPDATE OF status, reason ON taskplatform.runs
    FOR EACH ROW WHEN ((NEW.status, NEW.reason) IS DISTINCT FROM (OLD.status, OLD.reason))
    EXECUTE FUNCTION taskplatform_audit.state();
CREATE OR REPLACE TRIGGER audit_refusal AFTER UPDATE ON taskplatform.workers
    FOR EACH ROW WHEN (NEW.stale_writes_refused <> OLD.stale_writes_refused)
    EXECUTE FUNCTION taskplatform_audit.refusal();
"""

_REMOVE = """
DROP SCHEMA IF EXISTS taskplatform_audit CASCADE
"""

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::double precision"


def _wall(column: str) -> str:
    return f"extract(epoch FROM {column})::double precision"


# Waiting is stated if it is for something, or until a moment that has not passed for long.
_STUCK = """
SELECT r.id::text AS id FROM taskplatform.runs r
WHERE r.finished_at IS NULL AND (
    NOT EXISTS (SELECT FROM taskplatform.work w WHERE w.run_id = r.id)
    OR (r.status IN ('queued', 'running') AND NOT EXISTS (
        SELECT FROM taskplatform.work w JOIN taskplatform.holders h ON h.id = w.holder
        WHERE w.run_id = r.id AND h.lease_until > clock_timestamp()))
    OR EXISTS (SELECT FROM taskplatform.work w WHERE w.run_id = r.id
               AND w.due_at < clock_timestamp() - interval '10 s'))
ORDER BY r.id
"""

TABLES = {
    "runs": f"""
        SELECT id::text AS id, pipeline, key,
               key IS NOT NULL AND NOT forced AND replay_of IS NULL AS owns_key,
               request_id AS request, status, reason, {_wall("created_at")} AS created,
               {_wall("started_at")} AS started, {_wall("finished_at")} AS finished,
               replay_of::text AS replay_of
        FROM taskplatform.runs ORDER BY id
    """,
    "results": """
        SELECT run_id::text AS run, step_name AS step, output, version, attempt, epoch, worker,
               reused_from IS NOT NULL AS reused
        FROM taskplatform.step_results
        UNION ALL
        SELECT run_id::text, step_name || '[' || position || ']', output, version, attempt, epoch,
               worker, false
        FROM taskplatform.items WHERE output IS NOT NULL
    """,
    "attempts": """
        SELECT run_id::text AS run, step_name AS step, number, outcome, epoch, alone
        FROM taskplatform.step_attempts ORDER BY run_id, step_name, number
    """,
    "commits": f"""
        SELECT run_id::text AS run, step, epoch, output, reused, {_wall("wall")} AS wall, n
        FROM taskplatform_audit.commits ORDER BY n
    """,
    "grants": f"""
        SELECT work, run_id::text AS run, branch, epoch, {_wall("wall")} AS wall, n
        FROM taskplatform_audit.grants ORDER BY n
    """,
    "states": f"""
        SELECT run_id::text AS run, status, reason, {_wall("wall")} AS wall, n
        FROM taskplatform_audit.states ORDER BY n
    """,
}
_HELD = "SELECT count(*)::integer AS held FROM taskplatform.work WHERE holder IS NOT NULL"
_REFUSED = "SELECT coalesce(sum(many), 0)::bigint AS refused FROM taskplatform_audit.refusals"


def install(connection: Session) -> None:
    """Audit from now on; safe to repeat."""
    connection.execute(_INSTALL)


def remove(connection: Session) -> None:
    """Audit no longer, and forget what was seen."""
    connection.execute(_REMOVE)


def clock(connection: Session) -> float:
    """The database clock, in seconds since 1970."""
    (seconds,) = connection.execute(_CLOCK).fetchone() or (0.0,)
    return float(seconds)


def rows(connection: Session, table: str) -> Sequence[dict[str, Any]]:
    """All rows of one of TABLES, by column."""
    return connection.cursor(row_factory=dict_row).execute(TABLES[table]).fetchall()


def stuck(connection: Session) -> list[str]:
    """Ids of the runs that have neither an end nor a stated reason."""
    return [run for (run,) in connection.execute(_STUCK)]


def held(connection: Session) -> int:
    """How many work rows are still held."""
    (many,) = connection.execute(_HELD).fetchone() or (0,)
    return int(many)


def refused(connection: Session) -> int:
    """How many stale writes were refused, also by workers that are gone."""
    (many,) = connection.execute(_REFUSED).fetchone() or (0,)
    return int(many)
