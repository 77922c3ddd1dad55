"""Order: the static rank of work, lanes of who shares a queue, priorities of pipelines.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What is there keeps its order: equal ranks go by id. A constant default rewrites no row.
RANK = """
DO $$
BEGIN
    EXECUTE format('ALTER TABLE taskplatform.work ADD COLUMN rank bigint NOT NULL DEFAULT %s',
                   (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
END $$
"""

STATEMENTS = """
UPDATE taskplatform.work SET rank = rank - priority::bigint * 60000000 WHERE priority <> 0;

-- Workers of the version before know no rank.
ALTER TABLE taskplatform.work
    ALTER COLUMN rank SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- Who shares the queue fairly with the others; empty: nobody in particular.
ALTER TABLE taskplatform.work ADD COLUMN lane text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE taskplatform.runs ADD COLUMN fair_key text;

DROP INDEX taskplatform.work_ready;
CREATE INDEX work_ready ON taskplatform.work (queue, lane, rank, id)
    WHERE holder IS NULL AND due_at IS NULL;

DROP INDEX taskplatform.work_in_line;
CREATE INDEX work_in_line ON taskplatform.work (gate, rank, id) WHERE gate IS NOT NULL;
CREATE INDEX work_in_lane ON taskplatform.work (gate, lane, rank, id) WHERE gate IS NOT NULL;

-- What a lane has used of its queue's workers: `used` in seconds, `vtime` in seconds by weight,
-- from where it came in.
CREATE TABLE taskplatform.lanes (
    queue       text NOT NULL,
    lane        text COLLATE "C" NOT NULL,
    vtime       double precision NOT NULL,
    used        double precision NOT NULL DEFAULT 0,
    charged_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (queue, lane)
) WITH (fillfactor = 50);

CREATE TABLE taskplatform.weights (
    fair_key    text COLLATE "C" PRIMARY KEY,
    weight      double precision NOT NULL,
    CONSTRAINT weights_weight CHECK (weight > 0)
);

-- The priority of new runs of a pipeline that are given none.
CREATE TABLE taskplatform.priorities (
    pipeline    text PRIMARY KEY,
    priority    integer NOT NULL
)
"""


def upgrade() -> None:
    op.execute(RANK)
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE taskplatform.lanes, taskplatform.weights, taskplatform.priorities")
    op.execute(
        "DROP INDEX taskplatform.work_ready, taskplatform.work_in_line, taskplatform.work_in_lane"
    )
    op.execute("ALTER TABLE taskplatform.work DROP COLUMN rank, DROP COLUMN lane")
    op.execute("ALTER TABLE taskplatform.runs DROP COLUMN fair_key")
    op.execute(
        "CREATE INDEX work_ready ON taskplatform.work (queue, priority DESC, id) "
        "WHERE holder IS NULL AND due_at IS NULL"
    )
    op.execute(
        "CREATE INDEX work_in_line ON taskplatform.work (gate, priority DESC, id) "
        "WHERE gate IS NOT NULL"
    )
