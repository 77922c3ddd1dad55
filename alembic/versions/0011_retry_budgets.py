"""What attempts of failing pipelines came to lately, and whose retries are held back.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = """
-- By half minutes; only of pipelines of which attempts fail.
CREATE TABLE taskplatform.attempt_counts (
    pipeline    text NOT NULL,
    began       timestamptz NOT NULL,
    passed      integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (pipeline, began)
);

-- A row for as long as the budget is in force.
CREATE TABLE taskplatform.retry_budgets (
    pipeline    text PRIMARY KEY,
    share       double precision NOT NULL,
    ended       integer NOT NULL,
    failed      integer NOT NULL,
    since       timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    # Who stands in such a line is let go: the code before knows no such gate.
    op.execute(
        "UPDATE taskplatform.work SET due_at = clock_timestamp(), gate = NULL, waiting_for = NULL "
        "WHERE gate LIKE 'retry-budget:%'"
    )
    op.execute("DROP TABLE taskplatform.attempt_counts, taskplatform.retry_budgets")
