"""Gates: work that stands in line for a limit, what is kept free for whom, limits set by hand.

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
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("UPDATE taskplatform.work SET due_at = clock_timestamp() WHERE gate IS NOT NULL")
    op.execute("DROP TABLE taskplatform.reservations, taskplatform.limits")
    op.execute(
        "ALTER TABLE taskplatform.work DROP COLUMN gate, DROP COLUMN gate_weight, "
        "DROP COLUMN gate_share"
    )
