"""Old runs are deleted, and only those that ended long ago."""

from uuid import UUID

import pytest

from taskplatform.storage.connection import Session, connect
from taskplatform.storage.prune import prune


@pytest.fixture
def session(database_url: str) -> Session:
    return connect(database_url, pinned=False)


def _run(session: Session, id: str, status: str, ended_days_ago: int | None) -> None:
    session.execute(
        "INSERT INTO taskplatform.runs (id, pipeline, status, input, finished_at)"
        " VALUES (%s, 'p', %s, '{}', clock_timestamp() - make_interval(days => %s))",
        (UUID(id), status, ended_days_ago),
    )
    session.execute(
        "INSERT INTO taskplatform.step_results"
        " (run_id, step_name, output, attempt, started_at, finished_at, epoch)"
        " VALUES (%s, 's', '1', 1, now(), now(), 1)",
        (UUID(id),),
    )


def test_what_ended_long_ago_is_deleted(session: Session) -> None:
    """Q6: 31 days old: gone with its steps; 29 days old, or not ended: kept."""
    old = "00000000-0000-7000-8000-00000000000"
    with session:
        _run(session, old + "1", "succeeded", 31)
        _run(session, old + "2", "failed", 29)
        _run(session, old + "3", "queued", None)
        assert prune(session, 30) == 1
        assert prune(session, 30) == 0
        left = session.execute("SELECT id FROM taskplatform.runs ORDER BY id").fetchall()
        steps = session.execute(
            "SELECT run_id FROM taskplatform.step_results ORDER BY 1"
        ).fetchall()
    assert left == steps == [(UUID(old + "2"),), (UUID(old + "3"),)]


def test_pruning_twice_at_once_waits_for_nobody(session: Session, database_url: str) -> None:
    """Two supervisors prune side by side: rows that one has locked are left to it."""
    id = "00000000-0000-7000-8000-000000000001"
    with session, connect(database_url, pinned=False) as other:
        _run(session, id, "succeeded", 40)
        with other.transaction():
            other.execute("SELECT FROM taskplatform.runs WHERE id = %s FOR UPDATE", (UUID(id),))
            assert prune(session, 30) == 0
        assert prune(session, 30) == 1
