"""Pauses: pipelines that nobody claims, and the crashes by which one pauses itself.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = """
-- Nobody claims work of these. `reason` is what their runs wait for.
CREATE TABLE taskplatform.pauses (
    pipeline    text PRIMARY KEY,
    reason      text NOT NULL,
    why         text,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pauses_reason CHECK (reason IN ('paused', 'breaker'))
);

-- A pool child died in this body, of its own as far as anybody saw.
CREATE TABLE taskplatform.crashes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline    text NOT NULL,
    run_id      uuid NOT NULL,
    step_name   text NOT NULL,
    item        integer,
    crashed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX crashes_by_pipeline ON taskplatform.crashes (pipeline, crashed_at);

-- Seconds that the worker's clock is ahead of the database's.
ALTER TABLE taskplatform.workers ADD COLUMN clock_ahead double precision;

-- Touched by nothing but a pause: rows come into it when they are set aside.
CREATE INDEX work_set_aside ON taskplatform.work (pipeline, id)
    WHERE reason IN ('paused', 'breaker');
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute(
        "UPDATE taskplatform.work SET due_at = clock_timestamp() "
        "WHERE reason IN ('paused', 'breaker')"
    )
    op.execute("DROP INDEX taskplatform.work_set_aside")
    op.execute("DROP TABLE taskplatform.pauses, taskplatform.crashes")
    op.execute("ALTER TABLE taskplatform.workers DROP COLUMN clock_ahead")
