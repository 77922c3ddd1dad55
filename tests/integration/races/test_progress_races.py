"""Reports of bodies beside the commits of their runs."""

from collections.abc import Sequence

from taskplatform.storage.claim import Claimed
from taskplatform.storage.progress import Told, write
from taskplatform.storage.settle import settle
from tests.integration.races.stage import Stage, give_back, keep, succeed

SEEN = "SELECT progress_done, progress_total FROM taskplatform.work ORDER BY id"


def told(stage: Stage, some: Sequence[Claimed], ago: float = 0.0) -> list[Told]:
    """Reports of 1 of 2, 2 of 2, and so on."""
    holder = stage.value("SELECT max(id) FROM taskplatform.holders")
    return [
        Told(one.work_id, one.epoch, holder, number, 2.0, ago)
        for number, one in enumerate(some, start=1)
    ]


def test_the_reports_of_all_bodies_are_one_statement(stage: Stage) -> None:
    """A worker with a hundred bodies asks no more often than one with a single one."""
    stage.runs(2)
    held = stage.take()

    assert write(stage.connection, told(stage, held, ago=3.0)) == 2

    assert stage.rows(SEEN) == [(1.0, 2.0), (2.0, 2.0)]
    ago = "SELECT extract(epoch FROM clock_timestamp() - heartbeat_at) FROM taskplatform.work"
    assert 3.0 <= stage.value(ago) < 5.0


def test_a_heartbeat_knows_of_no_progress(stage: Stage) -> None:
    stage.runs()
    (one,) = stage.take()
    (report,) = told(stage, [one])

    write(stage.connection, [Told(one.work_id, one.epoch, report.holder, None, None, 0.0)])

    assert stage.rows(SEEN) == [(None, None)]
    assert stage.value("SELECT heartbeat_at IS NOT NULL FROM taskplatform.work")


def test_a_report_of_work_that_was_taken_over_is_refused(stage: Stage) -> None:
    """G3: progress is a write like others; it needs the epoch."""
    stage.runs()
    (old,) = stage.take()
    settle(stage.connection, [give_back(old)], worker="w")
    (report,) = told(stage, [old])
    stage.take()

    assert write(stage.connection, [report]) == 0

    assert stage.rows(SEEN) == [(None, None)]


def test_a_report_that_comes_after_the_next_step_began_is_of_nobody(stage: Stage) -> None:
    """The epoch is the same, the step is not."""
    stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [keep(one, "b")], worker="w")

    assert write(stage.connection, told(stage, [one], ago=0.5)) == 0
    assert write(stage.connection, told(stage, [one])) == 1


def test_the_next_step_begins_without_progress(stage: Stage) -> None:
    stage.runs(2)
    kept, marked = stage.take()
    write(stage.connection, told(stage, [kept, marked]))

    settle(stage.connection, [keep(kept, "b")], worker="w")
    settle(stage.connection, [keep(marked, "b", mark=True)], worker="w")

    assert stage.rows(SEEN) == [(None, None)] * 2


def test_a_report_does_not_wait_for_a_commit_in_flight(stage: Stage) -> None:
    """The row is about to change: it is told again, if it is still there."""
    stage.runs(2)
    busy, free = stage.take()
    other = stage.session()

    with other.transaction():
        settle(other, [succeed(busy)], worker="w")
        assert write(stage.connection, told(stage, [busy, free])) == 1
