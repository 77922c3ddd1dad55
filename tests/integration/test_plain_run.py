"""A plain run is stored by a statement of its own, and is the same run."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from taskplatform.core.ids import uuid7
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun, insert, insert_plain, is_plain

# Of times, only whether they are there, and how far apart.
RUN = """
SELECT pipeline, key, owner, status, reason, due_at, waiting_for, priority, input::text,
       output_step, error, request_id, forced, replay_of, replay_from,
       round(extract(epoch FROM deadline - created_at)),
       round(extract(epoch FROM start_by - created_at)), created_at IS NULL,
       started_at, finished_at, version, parent_run, parent_step, fair_key
FROM taskplatform.runs WHERE id = %s
"""
WORK = """
SELECT to_jsonb(w) - 'id' - 'run_id' - 'rank',
       abs(w.rank + w.priority * %s::double precision * 1e6
           - extract(epoch FROM statement_timestamp()) * 1e6) < 6e7
FROM taskplatform.work w WHERE run_id = %s
"""


@pytest.fixture
def connection(database_url: str) -> Iterator[Session]:
    with closing(connect(database_url)) as made:
        yield made


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "priority": 7,
            "ageing": 3.0,
            "owner": "ann",
            "fair_key": "ann",
            "input": b'{"a": "\\u00fc\'%"}',
        },
        {"key": "k", "forced": True, "run_timeout": 60.0, "queue_timeout": 5.2, "input": b"null"},
        {"pipeline": "urgent"},
    ],
)
def test_both_ways_store_the_same(connection: Session, options: dict[str, Any]) -> None:
    """Q20: whichever statement stores a run, it is executed alike."""
    connection.execute(
        "INSERT INTO taskplatform.priorities (pipeline, priority) VALUES ('urgent', 9)"
    )
    given: dict[str, Any] = {"pipeline": "orders", "first_step": "one", "queue": "q", "input": b"1"}
    one, other = (NewRun(id=uuid7(), **(given | options)) for _ in range(2))
    assert is_plain(one)

    insert_plain(connection, one)
    insert(connection, [other])

    for statement, values in ((RUN, []), (WORK, [one.ageing])):
        stored = [
            connection.execute(statement, [*values, run.id]).fetchall() for run in (one, other)
        ]
        assert stored[0] == stored[1]
        assert len(stored[0]) == 1
    assert stored[0][0][1] is True


def test_an_id_that_is_stored_already_stays_as_it_is(connection: Session) -> None:
    run = NewRun(id=uuid7(), pipeline="orders", first_step="one", queue="q", input=b"1")
    enqueue(connection, [run])

    with pytest.raises(psycopg.errors.UniqueViolation):
        insert_plain(connection, run)

    (found,) = enqueue(connection, [run], again=True)
    assert (found.id, found.created) == (run.id, True)
    assert connection.execute("SELECT count(*) FROM taskplatform.work").fetchall() == [(1,)]
