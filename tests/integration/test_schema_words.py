"""The database repeats the words of the code, and refuses others."""

import re

import psycopg
import pytest

from taskplatform.core.ids import uuid7
from taskplatform.core.run import FINAL, Reason, Status

OUTCOMES = {"failed", "timed-out", "put-off", "crashed", "interrupted", "cancelled"}

_CHECK = """
SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c
JOIN pg_namespace n ON n.oid = c.connamespace
WHERE n.nspname = 'taskplatform' AND c.contype = 'c' AND c.conname = %s
"""
_RUN = """
INSERT INTO taskplatform.runs (id, pipeline, status, reason, input, finished_at)
VALUES (%s, 'p', %s, %s, '{}', CASE WHEN %s THEN now() END)
"""


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("runs_status", set(Status)),
        ("runs_reason", set(Reason)),
        ("runs_finished", FINAL),
        ("runs_waiting_has_reason", {Status.WAITING}),
        ("step_attempts_outcome", OUTCOMES),
    ],
)
def test_the_words_are_those_of_the_code(
    database_url: str, constraint: str, words: set[str]
) -> None:
    """Two state machines would drift: the database's is compared with the code's."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(_CHECK, (constraint,)).fetchone()
    assert row is not None
    assert set(re.findall(r"'([\w-]+)'", row[0])) == {str(word) for word in words}


@pytest.mark.parametrize(
    ("status", "reason", "finished"),
    [
        ("done", None, False),
        ("waiting", None, False),
        ("waiting", "boredom", False),
        ("queued", "retry", False),
        ("succeeded", None, False),
        ("running", None, True),
    ],
)
def test_what_contradicts_itself_is_refused(
    database_url: str, status: str, reason: str | None, finished: bool
) -> None:
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(_RUN, (uuid7(), status, reason, finished))
