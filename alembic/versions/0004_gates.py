"""Gates: lines for a limit, what is kept free for whom, limits set by hand, throttles by weight.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = """
-- In line at a gate, by rank, until it is released. `gate_weight` is what it takes of the limit,
-- `gate_share` how much of the limit may be used up with it.
ALTER TABLE taskplatform.work
    ADD COLUMN gate        text COLLATE "C",
    ADD COLUMN gate_weight integer,
    ADD COLUMN gate_share  double precision,
    ADD CONSTRAINT work_in_line CHECK (gate IS NULL OR (holder IS NULL AND due_at IS NOT NULL));
CREATE INDEX work_in_line ON taskplatform.work (gate, priority DESC, id) WHERE gate IS NOT NULL;

-- So much of a gate's limit is kept free for released work, or for who waits without being work.
CREATE TABLE taskplatform.reservations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gate        text COLLATE "C" NOT NULL,
    work_id     bigint,
    weight      integer NOT NULL,
    until       timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX reservations_by_gate ON taskplatform.reservations (gate, id);
CREATE UNIQUE INDEX reservations_by_work ON taskplatform.reservations (work_id)
    WHERE work_id IS NOT NULL;

-- Limits that were set by hand; they win over what is declared. `per` in seconds.
CREATE TABLE taskplatform.limits (
    kind        text NOT NULL,
    name        text NOT NULL,
    most        integer,
    per         double precision,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, name),
    CONSTRAINT limits_kind CHECK (kind IN ('throttle', 'concurrency')),
    CONSTRAINT limits_values CHECK (most >= 0 AND per > 0)
);

-- One limit of one scope. `used` is the weight of its slices after `swept`, which is `span` seconds
-- before it was last asked for a grant; `most` and `per` are what it was asked with. Nothing is
-- granted before `closed_until`. At `next_at` the head of its line may go.
DROP TABLE taskplatform.throttle_slots;
CREATE TABLE taskplatform.throttle_buckets (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text COLLATE "C" NOT NULL,
    scope       text COLLATE "C" NOT NULL,
    most        integer NOT NULL,
    per         double precision NOT NULL,
    span        double precision NOT NULL DEFAULT 0,
    used        bigint NOT NULL DEFAULT 0,
    swept       timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_until timestamptz NOT NULL DEFAULT '-infinity',
    closed_why  text,
    next_at     timestamptz,
    UNIQUE (name, scope)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX throttle_buckets_next ON taskplatform.throttle_buckets (next_at)
    WHERE next_at IS NOT NULL;

-- What was granted within a thousandth of the window; `at` is its end, so that it counts for a
-- little longer than it has to and never for less.
CREATE TABLE taskplatform.throttle_slices (
    bucket      bigint NOT NULL,
    at          timestamptz NOT NULL,
    weight      bigint NOT NULL,
    PRIMARY KEY (bucket, at)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- What was granted in a minute, of slices that count no more.
CREATE TABLE taskplatform.throttle_history (
    name        text COLLATE "C" NOT NULL,
    scope       text COLLATE "C" NOT NULL,
    minute      timestamptz NOT NULL,
    weight      bigint NOT NULL,
    PRIMARY KEY (name, scope, minute)
);
CREATE INDEX throttle_history_by_time ON taskplatform.throttle_history (minute);
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("UPDATE taskplatform.work SET due_at = clock_timestamp() WHERE gate IS NOT NULL")
    op.execute(
        "DROP TABLE taskplatform.reservations, taskplatform.limits, "
        "taskplatform.throttle_buckets, taskplatform.throttle_slices, taskplatform.throttle_history"
    )
    op.execute(
        "CREATE TABLE taskplatform.throttle_slots (name text NOT NULL, scope text NOT NULL, "
        "slot integer NOT NULL, granted_at timestamptz NOT NULL DEFAULT '-infinity', "
        "PRIMARY KEY (name, scope, slot)) WITH (fillfactor = 70)"
    )
    op.execute(
        "CREATE INDEX throttle_slots_oldest ON taskplatform.throttle_slots "
        "(name, scope, granted_at)"
    )
    op.execute(
        "ALTER TABLE taskplatform.work DROP COLUMN gate, DROP COLUMN gate_weight, "
        "DROP COLUMN gate_share"
    )
