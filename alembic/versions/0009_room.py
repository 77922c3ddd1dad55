"""Room: in a page of work for the next versions of all its rows.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# A batch changes all the rows of a page in one transaction. What finds no room there goes to
# another page, with a new entry in every index.
STATEMENT = "ALTER TABLE taskplatform.work SET (fillfactor = {})"


def upgrade() -> None:
    op.execute(STATEMENT.format(35))


def downgrade() -> None:
    op.execute(STATEMENT.format(70))
