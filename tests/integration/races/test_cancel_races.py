"""G10: cancel beside a commit, in both orders: one end, no live work left, no finished step lost.

A cancel that decided from a snapshot older than its lock wait left live work behind. [X]
"""

import pytest

from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed
from taskplatform.storage.running import mark, still_held
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Settlement
from tests.integration.races.stage import (
    Stage,
    fail,
    give_back,
    keep,
    pass_on,
    succeed,
    wait,
)


def wait_a_minute(one: Claimed) -> Settlement:
    return wait(one, 60)


def go_on(one: Claimed) -> Settlement:
    return keep(one, "b")


def go_on_marked(one: Claimed) -> Settlement:
    return keep(one, "b", mark=True)


def to_another_queue(one: Claimed) -> Settlement:
    return pass_on(one, "b")


MOVES = [go_on, go_on_marked, to_another_queue, wait_a_minute, give_back]
ENDS = [succeed, fail]


@pytest.mark.parametrize("move", MOVES)
def test_cancel_behind_a_commit_that_goes_on(stage: Stage, move: object) -> None:
    """G10, F42: the commit counts, its step stays finished, and nothing of the run is left."""
    (run,) = stage.runs(key="k")
    one = stage.take_started()
    made = move(one)  # type: ignore[operator]
    canceller = stage.racer()
    with stage.connection.transaction():
        assert settle(stage.connection, [made], worker="w") == {one.work_id}
        cancelled = canceller.start(cancel, run)
        assert canceller.blocked()

    assert cancelled.result(10) is True
    assert stage.status(run) == "cancelled"
    assert list(stage.results(run)) == (["a"] if made.result else [])
    assert stage.take() == []
    assert stage.value("SELECT count(*) FROM taskplatform.keys") == 0
    assert not stage.wrong()


@pytest.mark.parametrize("end", ENDS)
def test_cancel_behind_the_end_of_the_run(stage: Stage, end: object) -> None:
    """G10, F42: a run that ended first is not cancelled, and the cancel says so."""
    (run,) = stage.runs(key="k")
    one = stage.take_started()
    canceller = stage.racer()
    with stage.connection.transaction():
        settle(stage.connection, [end(one)], worker="w")  # type: ignore[operator]
        cancelled = canceller.start(cancel, run)
        assert canceller.blocked()

    assert cancelled.result(10) is False
    assert stage.status(run) in ("succeeded", "failed")
    assert not stage.wrong()


@pytest.mark.parametrize("move", [*MOVES, *ENDS])
def test_a_commit_behind_a_cancel_is_refused(stage: Stage, move: object) -> None:
    """G10, G3: an acknowledged cancel never turns into success; the late result is refused."""
    (run,) = stage.runs(key="k")
    one = stage.take_started()
    late = stage.racer()
    with stage.connection.transaction():
        assert cancel(stage.connection, run)
        refused = late.start(settle, [move(one)], worker="w")  # type: ignore[operator]
        assert late.blocked()

    assert refused.result(10) == set()
    assert stage.status(run) == "cancelled"
    assert stage.results(run) == {}
    assert stage.attempts(run) == [("a", 1, "cancelled")]
    assert still_held(stage.connection, [(one.work_id, one.epoch)]) == set()
    assert not stage.wrong()


def test_cancel_beside_a_batch_takes_one_run_out_of_it(stage: Stage) -> None:
    """G10: the neighbours of a cancelled run commit."""
    runs = stage.runs(3)
    batch = stage.take()
    late = stage.racer()
    with stage.connection.transaction():
        assert cancel(stage.connection, runs[1])
        committed = late.start(settle, [keep(one, "b") for one in batch], worker="w")
        assert late.blocked()

    assert committed.result(10) == {batch[0].work_id, batch[2].work_id}
    assert [list(stage.results(run)) for run in runs] == [["a"], [], ["a"]]
    assert not stage.wrong()


def test_two_cancels_at_once(stage: Stage) -> None:
    """G10: one of them cancels, one `cancelled` attempt is recorded."""
    (run,) = stage.runs()
    stage.take_started()
    other = stage.racer()
    with stage.connection.transaction():
        assert cancel(stage.connection, run) is True
        second = other.start(cancel, run)
        assert other.blocked()

    assert second.result(10) is False
    assert stage.attempts(run) == [("a", 1, "cancelled")]
    assert not stage.wrong()


def test_cancel_of_claimed_work_whose_body_did_not_start_records_no_attempt(stage: Stage) -> None:
    """G10: attempts count executions; one that waits in a batch is none."""
    (run,) = stage.runs()
    stage.take()

    assert cancel(stage.connection, run)

    assert stage.attempts(run) == []


def test_cancel_beside_a_claim_leaves_nothing_claimed(stage: Stage) -> None:
    """G10: a claim does not wait for a cancel in flight, nor take what it is about to delete."""
    (run,) = stage.runs()
    with stage.connection.transaction():
        assert cancel(stage.connection, run)
        assert stage.take(connection=stage.session(), holder=99) == []

    assert stage.value("SELECT count(*) FROM taskplatform.work") == 0


def test_a_run_is_marked_running_though_its_row_was_busy_at_the_claim(stage: Stage) -> None:
    """G5: a claim may not wait for the run row; the mark of the long body makes up for it."""
    (run,) = stage.runs()
    other = stage.session()
    with other.transaction():
        # As a retry by hand, a replay or a cancel that waits for the work would.
        other.execute("SELECT FROM taskplatform.runs WHERE id = %s FOR UPDATE", (run,))
        one = stage.take_started()
    assert stage.status(run) == "queued"

    mark(stage.connection, work_id=one.work_id, epoch=one.epoch, started_ago=0.05)

    assert stage.status(run) == "running"
