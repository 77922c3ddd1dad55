"""Shapes: branches and joins, items of maps, waits for events, children, canvases, reports.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = """
-- A child run knows the step of the run that waits for it. `start_by` is when a run that has not
-- started fails.
ALTER TABLE taskplatform.runs
    ADD COLUMN parent_run  uuid,
    ADD COLUMN parent_step text,
    ADD COLUMN start_by    timestamptz;
CREATE INDEX runs_children ON taskplatform.runs (parent_run) WHERE parent_run IS NOT NULL;
CREATE INDEX runs_start_by ON taskplatform.runs (start_by)
    WHERE start_by IS NOT NULL AND started_at IS NULL AND finished_at IS NULL;

-- What a branch rests on: 'sleep', 'event', 'child', 'branches' or 'canvas'. A row that rests on
-- branches is their join: `pending` of them have not ended; the items of a map from `next_item` on
-- have no row yet. `parent` is the row of the join, `item` the place in the map. A run whose main
-- row is `failing` starts nothing new but compensations.
ALTER TABLE taskplatform.work
    ADD COLUMN parent      bigint,
    ADD COLUMN item        integer,
    ADD COLUMN rest        text,
    ADD COLUMN pending     integer,
    ADD COLUMN next_item   integer,
    ADD COLUMN failing     boolean,
    ADD COLUMN reason      text,
    ADD COLUMN waiting_for text,
    ADD COLUMN progress_done  double precision,
    ADD COLUMN progress_total double precision,
    ADD COLUMN heartbeat_at   timestamptz,
    ADD CONSTRAINT work_rest CHECK (rest IN ('sleep', 'event', 'child', 'branches', 'canvas'));
UPDATE taskplatform.work w SET reason = r.reason, waiting_for = r.waiting_for
FROM taskplatform.runs r WHERE r.id = w.run_id AND w.due_at IS NOT NULL AND r.reason IS NOT NULL;

ALTER TABLE taskplatform.step_results ADD COLUMN log text;
ALTER TABLE taskplatform.step_attempts ADD COLUMN log text;

CREATE INDEX work_joins ON taskplatform.work (run_id) WHERE rest = 'branches';

-- The items of a map as they were when it was reached, each with its own result.
CREATE TABLE taskplatform.items (
    run_id      uuid NOT NULL,
    step_name   text NOT NULL,
    position    integer NOT NULL,
    item        json NOT NULL,
    version     integer NOT NULL,
    output      json,
    failed      boolean NOT NULL DEFAULT false,
    attempt     integer,
    started_at  timestamptz,
    finished_at timestamptz,
    worker      text,
    epoch       bigint,
    log         text,
    PRIMARY KEY (run_id, step_name, position)
) WITH (fillfactor = 60);

CREATE TABLE taskplatform.events (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    data        json NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX events_by_name ON taskplatform.events (name, created_at);
CREATE INDEX events_by_time ON taskplatform.events (created_at);

-- A step that waits, or has waited, for an event. `field` of the event has to be `value`; both are
-- empty when any event of the name will do. The first match is kept; what did not fit is passed.
CREATE TABLE taskplatform.waits (
    run_id      uuid NOT NULL,
    step_name   text NOT NULL,
    work_id     bigint NOT NULL,
    event       text NOT NULL,
    field       text NOT NULL DEFAULT '',
    value       text NOT NULL DEFAULT '',
    expires_at  timestamptz NOT NULL DEFAULT 'infinity',
    event_id    uuid,
    passed      uuid[] NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, step_name)
);
CREATE INDEX waits_open ON taskplatform.waits (event, value) WHERE event_id IS NULL;
CREATE INDEX waits_matched ON taskplatform.waits (event_id) WHERE event_id IS NOT NULL;

-- What a user's canvas goes on with when the run has succeeded.
CREATE TABLE taskplatform.canvases (
    run_id      uuid PRIMARY KEY,
    tail        json NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
);
CREATE INDEX canvases_open ON taskplatform.canvases (run_id) WHERE published_at IS NULL;
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE taskplatform.items, taskplatform.events, taskplatform.waits, "
        "taskplatform.canvases"
    )
    op.execute("DELETE FROM taskplatform.work WHERE rest IS NOT NULL OR parent IS NOT NULL")
    op.execute(
        "ALTER TABLE taskplatform.work DROP COLUMN parent, DROP COLUMN item, DROP COLUMN rest, "
        "DROP COLUMN pending, DROP COLUMN next_item, DROP COLUMN failing, DROP COLUMN reason, "
        "DROP COLUMN waiting_for, DROP COLUMN progress_done, DROP COLUMN progress_total, "
        "DROP COLUMN heartbeat_at"
    )
    op.execute("ALTER TABLE taskplatform.step_results DROP COLUMN log")
    op.execute("ALTER TABLE taskplatform.step_attempts DROP COLUMN log")
    op.execute(
        "ALTER TABLE taskplatform.runs DROP COLUMN parent_run, DROP COLUMN parent_step, "
        "DROP COLUMN start_by"
    )
