"""Pauses of queues, owners and keys, runs that go on in spite of them.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = """
-- Beside `pauses`, which workers of the version before know. `pipeline` is empty but for a key.
CREATE TABLE taskplatform.wider_pauses (
    kind        text NOT NULL,
    pipeline    text NOT NULL DEFAULT '',
    name        text NOT NULL,
    why         text,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, pipeline, name),
    CONSTRAINT wider_pauses_kind CHECK (kind IN ('queue', 'owner', 'key'))
);

-- Runs that were let go by hand, whatever is paused.
CREATE TABLE taskplatform.canaries (
    run_id      uuid PRIMARY KEY,
    since       timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE taskplatform.wider_pauses, taskplatform.canaries")
