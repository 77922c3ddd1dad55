"""How much each worker claims, from which follows when what waits may start.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE taskplatform.workers "
        "ADD COLUMN claims_per_second double precision NOT NULL DEFAULT 0"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE taskplatform.workers DROP COLUMN claims_per_second")
