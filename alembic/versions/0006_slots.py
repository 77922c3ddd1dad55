"""Slots of concurrency limits, and the breakers of APIs outside.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = """
-- One that is taken of a gate's limit: by a holder, for the body of an epoch, or without a holder
-- by a run, until that ends. `most` is the limit as its taker knew it.
CREATE TABLE taskplatform.slots (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gate        text COLLATE "C" NOT NULL,
    run_id      uuid NOT NULL,
    holder      bigint,
    epoch       bigint,
    most        integer NOT NULL,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT slots_holder CHECK ((holder IS NULL) = (epoch IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX slots_by_gate ON taskplatform.slots (gate, id);
CREATE INDEX slots_by_epoch ON taskplatform.slots (epoch) WHERE epoch IS NOT NULL;
CREATE INDEX slots_by_holder ON taskplatform.slots (holder) WHERE holder IS NOT NULL;
CREATE UNIQUE INDEX slots_of_runs ON taskplatform.slots (run_id, gate) WHERE holder IS NULL;

-- Whether steps that name it may start. Half-open: `level` of them at a time, of which `passed` and
-- `failed` have ended since it got to that level.
CREATE TABLE taskplatform.breakers (
    name        text PRIMARY KEY,
    state       text NOT NULL DEFAULT 'closed',
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    until       timestamptz,
    level       integer NOT NULL DEFAULT 1,
    passed      integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    why         text,
    CONSTRAINT breakers_state CHECK (state IN ('closed', 'open', 'half-open')),
    CONSTRAINT breakers_until CHECK ((state = 'open') = (until IS NOT NULL))
) WITH (fillfactor = 70);

-- How many bodies ended, in a tenth of the window.
CREATE TABLE taskplatform.breaker_counts (
    name        text NOT NULL,
    began       timestamptz NOT NULL,
    passed      integer NOT NULL,
    failed      integer NOT NULL,
    PRIMARY KEY (name, began)
) WITH (fillfactor = 70);

-- What stands in line at a breaker is not set aside by a pause.
DROP INDEX taskplatform.work_set_aside;
CREATE INDEX work_set_aside ON taskplatform.work (pipeline, id)
    WHERE reason IN ('paused', 'breaker') AND gate IS NULL;
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE taskplatform.slots, taskplatform.breakers, taskplatform.breaker_counts")
    op.execute("DROP INDEX taskplatform.work_set_aside")
    op.execute(
        "CREATE INDEX work_set_aside ON taskplatform.work (pipeline, id) "
        "WHERE reason IN ('paused', 'breaker')"
    )
