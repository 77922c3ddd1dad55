"""The durable core: runs, work, step results and attempts, keys, holders, workers, throttles.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE SEQUENCE taskplatform.epochs;

CREATE TABLE taskplatform.runs (
    id          uuid PRIMARY KEY,
    pipeline    text NOT NULL,
    key         text,
    owner       text,
    status      text NOT NULL,
    reason      text,
    due_at      timestamptz,
    waiting_for text,
    priority    integer NOT NULL DEFAULT 0,
    input       json NOT NULL,
    output_step text,
    error       json,
    request_id  text,
    forced      boolean NOT NULL DEFAULT false,
    replay_of   uuid,
    replay_from text,
    deadline    timestamptz,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at  timestamptz,
    finished_at timestamptz,
    version     integer NOT NULL DEFAULT 1,
    CONSTRAINT runs_status CHECK (status IN ('scheduled', 'queued', 'running', 'waiting',
                                             'succeeded', 'failed', 'cancelled')),
    CONSTRAINT runs_reason CHECK (reason IN ('retry', 'throttle', 'concurrency', 'breaker', 'sleep',
                                             'event', 'children', 'paused', 'no-worker', 'parked')),
    CONSTRAINT runs_waiting_has_reason CHECK ((status = 'waiting') = (reason IS NOT NULL)),
    CONSTRAINT runs_finished CHECK ((status IN ('succeeded', 'failed', 'cancelled'))
                                    = (finished_at IS NOT NULL))
) WITH (fillfactor = 85);

CREATE INDEX runs_by_pipeline ON taskplatform.runs (pipeline, id);
CREATE INDEX runs_by_key ON taskplatform.runs (key, id) WHERE key IS NOT NULL;
CREATE INDEX runs_by_owner ON taskplatform.runs (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX runs_not_succeeded ON taskplatform.runs (status, id) WHERE status <> 'succeeded';
CREATE UNIQUE INDEX runs_request_id ON taskplatform.runs (pipeline, request_id)
    WHERE request_id IS NOT NULL;
CREATE INDEX runs_replays ON taskplatform.runs (replay_of) WHERE replay_of IS NOT NULL;

CREATE TABLE taskplatform.step_results (
    run_id      uuid NOT NULL,
    step_name   text NOT NULL,
    output      json NOT NULL,
    version     integer NOT NULL DEFAULT 1,
    attempt     integer NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    worker      text,
    epoch       bigint NOT NULL,
    reused_from uuid,
    PRIMARY KEY (run_id, step_name)
);

CREATE TABLE taskplatform.step_attempts (
    run_id      uuid NOT NULL,
    step_name   text NOT NULL,
    number      integer NOT NULL,
    outcome     text NOT NULL,
    error       json,
    started_at  timestamptz,
    finished_at timestamptz NOT NULL,
    worker      text,
    epoch       bigint NOT NULL,
    alone       boolean NOT NULL DEFAULT true,
    PRIMARY KEY (run_id, step_name, number),
    CONSTRAINT step_attempts_outcome CHECK (outcome IN ('failed', 'timed-out', 'put-off', 'crashed',
                                                        'interrupted', 'cancelled'))
);

CREATE TABLE taskplatform.keys (
    pipeline    text NOT NULL,
    key         text NOT NULL,
    run_id      uuid NOT NULL,
    expires_at  timestamptz,
    PRIMARY KEY (pipeline, key)
);
CREATE INDEX keys_by_run ON taskplatform.keys (run_id);

-- One row per claimable or claimed branch. Ready: no holder and no due_at. Waiting: a due_at
-- ('infinity' when it waits for a person). Held: a holder.
CREATE TABLE taskplatform.work (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      uuid NOT NULL,
    branch      text NOT NULL DEFAULT '',
    pipeline    text NOT NULL,
    step        text NOT NULL,
    queue       text NOT NULL,
    priority    integer NOT NULL DEFAULT 0,
    due_at      timestamptz,
    epoch       bigint NOT NULL DEFAULT 0,
    holder      bigint,
    alone       boolean NOT NULL DEFAULT false,
    tried       boolean NOT NULL DEFAULT false,
    failures    integer NOT NULL DEFAULT 0,
    put_off     double precision NOT NULL DEFAULT 0,
    started_at  timestamptz,
    CONSTRAINT work_one_state CHECK (holder IS NULL OR due_at IS NULL),
    UNIQUE (run_id, branch)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX work_ready ON taskplatform.work (queue, priority DESC, id)
    WHERE holder IS NULL AND due_at IS NULL;
CREATE INDEX work_waiting ON taskplatform.work (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX work_held ON taskplatform.work (holder, epoch) WHERE holder IS NOT NULL;

CREATE TABLE taskplatform.workers (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    host        text NOT NULL,
    pid         integer NOT NULL,
    pool        text NOT NULL,
    concurrency integer NOT NULL,
    queues      text[] NOT NULL,
    pipelines   text[] NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL,
    stale_writes_refused bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE taskplatform.holders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker      uuid NOT NULL,
    pid         integer NOT NULL,
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 70);

-- A throttle of N per window is N slots; a slot is granted again only when its last grant is
-- older than the window, so no window ever holds more than N grants.
CREATE TABLE taskplatform.throttle_slots (
    name        text NOT NULL,
    scope       text NOT NULL,
    slot        integer NOT NULL,
    granted_at  timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (name, scope, slot)
) WITH (fillfactor = 70);
CREATE INDEX throttle_slots_oldest ON taskplatform.throttle_slots (name, scope, granted_at);
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA taskplatform CASCADE")
