"""What the tables refuse, whatever the code does."""

from typing import Any

import psycopg
import pytest

from taskplatform.core.run import Reason, Status
from tests.integration.races.stage import Stage

REFUSED = {
    "runs_finished": [
        "UPDATE taskplatform.runs SET status = 'succeeded'",
        "UPDATE taskplatform.runs SET finished_at = clock_timestamp()",
    ],
    "runs_waiting_has_reason": [
        "UPDATE taskplatform.runs SET status = 'waiting'",
        "UPDATE taskplatform.runs SET reason = 'retry'",
    ],
    "runs_status": ["UPDATE taskplatform.runs SET status = 'paused'"],
    "runs_reason": ["UPDATE taskplatform.runs SET status = 'waiting', reason = 'tired'"],
    "work_one_state": [
        "UPDATE taskplatform.work SET holder = 1, due_at = clock_timestamp()",
        "UPDATE taskplatform.work SET holder = 1, due_at = 'infinity'",
    ],
    "step_attempts_outcome": [
        "INSERT INTO taskplatform.step_attempts"
        " VALUES (gen_random_uuid(), 'a', 1, 'succeeded', NULL, NULL, now(), 'w', 1)"
    ],
}


@pytest.mark.parametrize(
    ("constraint", "statement"),
    [(name, statement) for name, statements in REFUSED.items() for statement in statements],
)
def test_the_tables_refuse_states_that_mean_nothing(
    stage: Stage, constraint: str, statement: str
) -> None:
    """I11: whatever the code does, the database holds the shape of a run."""
    stage.runs()

    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        stage.connection.execute(statement)

    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("constraint", "words"), [("runs_status", Status), ("runs_reason", Reason)]
)
def test_the_database_knows_the_words_of_the_code(
    stage: Stage, constraint: str, words: Any
) -> None:
    """Design: the transition table is one module; the database repeats its words."""
    text = stage.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", constraint
    )

    assert set(text.split("'")[1::2]) == {str(word) for word in words}


def test_a_work_row_is_one_per_run(stage: Stage) -> None:
    """G3: the table allows no second branch of one name."""
    (run,) = stage.runs()

    with pytest.raises(psycopg.errors.UniqueViolation):
        stage.connection.execute(
            "INSERT INTO taskplatform.work (run_id, pipeline, step, queue)"
            " VALUES (%s, 'p', 'a', 'q')",
            (run,),
        )
