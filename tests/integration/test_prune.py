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


def _wait(session: Session, run: str, work: int, event: str | None = None) -> None:
    session.execute(
        "INSERT INTO taskplatform.waits (run_id, step_name, work_id, event, event_id)"
        " VALUES (%s, 'approval', %s, 'approved', %s)",
        (UUID(run), work, event and UUID(event)),
    )


def _event(session: Session, id: str, days_ago: int) -> None:
    session.execute(
        "INSERT INTO taskplatform.events (id, name, data, created_at)"
        " VALUES (%s, 'approved', '{}', clock_timestamp() - make_interval(days => %s))",
        (UUID(id), days_ago),
    )


def _ids(session: Session, query: str) -> set[str]:
    return {str(id)[-2:] for (id,) in session.execute(query)}


def test_items_waits_and_canvases_go_with_their_run(session: Session) -> None:
    """Of the run that is kept, all is kept."""
    old = "00000000-0000-7000-8000-00000000000"
    with session:
        for run, days in ((old + "1", 31), (old + "2", 29)):
            _run(session, run, "succeeded", days)
            _wait(session, run, 1, event=run)
            session.execute(
                "INSERT INTO taskplatform.items (run_id, step_name, position, item, version)"
                " VALUES (%s, 'each', 0, '1', 1), (%s, 'each', 1, '2', 1)",
                (UUID(run), UUID(run)),
            )
            session.execute(
                "INSERT INTO taskplatform.canvases (run_id, tail) VALUES (%s, '[]')", (UUID(run),)
            )
        prune(session, 30)
        for table in ("items", "waits", "canvases"):
            assert _ids(session, f"SELECT run_id FROM taskplatform.{table}") == {"02"}


def test_old_events_are_deleted_unless_a_wait_has_matched_them(session: Session) -> None:
    """The run that waited may not have read it yet."""
    id = "00000000-0000-7000-8000-00000000000"
    with session:
        _event(session, id + "1", 31)
        _event(session, id + "2", 31)
        _event(session, id + "3", 29)
        _wait(session, id + "9", 1, event=id + "2")
        assert prune(session, 30) == 1
        assert _ids(session, "SELECT id FROM taskplatform.events") == {"02", "03"}


def test_a_wait_whose_work_is_gone_is_deleted(session: Session) -> None:
    """A cancelled run waits for nothing; a wait that has its work, or its event, is kept."""
    id = "00000000-0000-7000-8000-00000000000"
    with session:
        row = session.execute(
            "INSERT INTO taskplatform.work (run_id, pipeline, step, queue, due_at, rest)"
            " VALUES (%s, 'p', 'approval', 'q', 'infinity', 'event') RETURNING id",
            (UUID(id + "1"),),
        ).fetchone()
        assert row is not None
        _wait(session, id + "1", row[0])
        _wait(session, id + "2", row[0] + 1)
        _wait(session, id + "3", row[0] + 2, event=id + "7")
        prune(session, 30)
        assert _ids(session, "SELECT run_id FROM taskplatform.waits") == {"01", "03"}
