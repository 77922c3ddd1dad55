"""The mark of a long body beside the commits of its run."""

import pytest

from taskplatform.storage.cancel import cancel
from taskplatform.storage.running import mark
from taskplatform.storage.settle import settle
from tests.integration.races.stage import Stage, give_back, keep, succeed


def test_a_long_body_is_marked_from_its_start(stage: Stage) -> None:
    """G5: running means that the body runs; the start is when it started, not when we looked."""
    (run,) = stage.runs()
    (one,) = stage.take()
    assert stage.status(run) == "queued"

    mark(stage.connection, work_id=one.work_id, epoch=one.epoch, started_ago=5.0)

    assert stage.status(run) == "running"
    for table in ("runs", "work"):
        ago = f"SELECT extract(epoch FROM clock_timestamp() - started_at) FROM taskplatform.{table}"
        assert 5.0 <= stage.value(ago) < 6.0


def test_no_mark_after_the_work_was_given_back_or_ended(stage: Stage) -> None:
    """G3: a mark is a write like others: it needs the epoch."""
    runs = stage.runs(3)
    gone, ended, cancelled = stage.take()
    settle(stage.connection, [give_back(gone), succeed(ended)], worker="w")
    cancel(stage.connection, runs[2])

    for one in (gone, ended, cancelled):
        mark(stage.connection, work_id=one.work_id, epoch=one.epoch, started_ago=0.05)

    assert [stage.status(run) for run in runs] == ["queued", "succeeded", "cancelled"]
    assert stage.value("SELECT count(started_at) FROM taskplatform.work") == 0
    assert not stage.wrong()


def test_no_mark_after_the_holder_went_on_to_the_next_step(stage: Stage) -> None:
    """G5: the body that was seen has ended; the next one of the same epoch has not started."""
    stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [keep(one, "b")], worker="w")

    mark(stage.connection, work_id=one.work_id, epoch=one.epoch, started_ago=0.05)

    assert stage.value("SELECT started_at FROM taskplatform.work") is None


def test_a_later_step_of_the_same_holder_is_marked(stage: Stage) -> None:
    """G5: an output of the same epoch, older than the body, does not stand in the way."""
    (run,) = stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [keep(one, "b")], worker="w")

    mark(stage.connection, work_id=one.work_id, epoch=one.epoch, started_ago=0.0)

    assert stage.status(run) == "running"


@pytest.mark.parametrize("marked", [True, False])
def test_a_mark_that_waited_for_the_commit_of_its_body_marks_nothing(
    stage: Stage, marked: bool
) -> None:
    """G5: the snapshot of the mark is older than its lock wait, for whichever row it waited."""
    stage.runs()
    (one,) = stage.take()
    marker = stage.racer()
    with stage.connection.transaction():
        settle(stage.connection, [keep(one, "b", mark=marked)], worker="w")
        began = stage.value("SELECT started_at FROM taskplatform.work")
        late = marker.start(mark, work_id=one.work_id, epoch=one.epoch, started_ago=0.05)
        assert marker.blocked()

    late.result(10)
    assert (began is not None) is marked
    assert stage.value("SELECT started_at FROM taskplatform.work") == began


def test_a_mark_that_waited_for_a_cancel_leaves_it_cancelled(stage: Stage) -> None:
    """G10: nothing brings a cancelled run back."""
    (run,) = stage.runs()
    (one,) = stage.take()
    marker = stage.racer()
    with stage.connection.transaction():
        cancel(stage.connection, run)
        marked = marker.start(mark, work_id=one.work_id, epoch=one.epoch, started_ago=0.05)
        assert marker.blocked()

    marked.result(10)
    assert stage.status(run) == "cancelled"
    assert not stage.wrong()


def test_mark_and_commit_lock_in_the_same_order(stage: Stage) -> None:
    """Run row, then work row: a mark between the two locks of a commit makes no deadlock. [X]"""
    (run,) = stage.runs()
    (one,) = stage.take()
    marker, committer = stage.racer(), stage.racer()
    with stage.connection.transaction():
        stage.connection.execute("SELECT FROM taskplatform.work FOR UPDATE")
        commit = committer.start(settle, [succeed(one)], worker="w")
        assert committer.blocked()
        marked = marker.start(mark, work_id=one.work_id, epoch=one.epoch, started_ago=0.05)
        assert marker.blocked()

    assert commit.result(10) == {one.work_id}
    marked.result(10)
    assert stage.status(run) == "succeeded"
    assert not stage.wrong()
