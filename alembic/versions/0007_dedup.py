"""Dedup: who joined the run of a burst last, and which batch a run waits for.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = """
-- The call that joined the run of the key last: if its answer is lost, it does not join again.
ALTER TABLE taskplatform.keys ADD COLUMN joined uuid;

-- The batch that the run waits for at its step. It is `gathered` while it is held with the others.
ALTER TABLE taskplatform.work ADD COLUMN batch text, ADD COLUMN gathered boolean;
CREATE INDEX work_batches ON taskplatform.work (batch, rank, id)
    WHERE batch IS NOT NULL AND gathered IS NULL;
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX taskplatform.work_batches")
    op.execute("ALTER TABLE taskplatform.work DROP COLUMN batch, DROP COLUMN gathered")
    op.execute("ALTER TABLE taskplatform.keys DROP COLUMN joined")
