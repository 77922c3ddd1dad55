"""G3: only who holds the current epoch of the work writes."""

import pytest

from taskplatform.core.ids import uuid7
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Handler, Settlement
from tests.integration.races.stage import (
    Stage,
    fail,
    give_back,
    keep,
    pass_on,
    succeed,
    wait,
)


def test_a_result_is_refused_after_the_work_was_given_back(stage: Stage) -> None:
    """G3: released and not claimed again: no holder, so nobody may write."""
    (run,) = stage.runs()
    (old,) = stage.take()
    assert settle(stage.connection, [give_back(old)], worker="rescuer")

    for late in (keep(old, "b"), pass_on(old, "b"), succeed(old), fail(old), wait(old, 5)):
        assert settle(stage.connection, [late], worker="zombie") == set()

    assert stage.results(run) == {}
    assert stage.attempts(run) == []
    assert stage.status(run) == "queued"
    assert not stage.wrong()


def test_a_result_is_refused_after_another_claim(stage: Stage) -> None:
    """G3, I4: no write of epoch e after e + 1 was granted; the newer holder's counts."""
    (run,) = stage.runs()
    (old,) = stage.take()
    settle(stage.connection, [give_back(old)], worker="rescuer")
    (new,) = stage.take()
    assert new.epoch > old.epoch

    for late in (keep(old, "b"), pass_on(old, "b"), succeed(old), fail(old), wait(old, 5)):
        assert settle(stage.connection, [late], worker="zombie") == set()

    assert stage.results(run) == {}
    assert settle(stage.connection, [succeed(new)], worker="heir") == {new.work_id}
    assert settle(stage.connection, [succeed(old, output=b"2")], worker="zombie") == set()
    assert stage.results(run) == {"a": b'"done"'}
    assert not stage.wrong()


def test_the_rest_of_a_batch_commits_beside_a_stale_member(stage: Stage) -> None:
    """G3: a refused member takes nothing of its neighbours with it, whatever becomes of them."""
    runs = stage.runs(5)
    batch = stage.take()
    stale = batch[2]
    settle(stage.connection, [give_back(stale)], worker="rescuer")
    made = [keep(batch[0], "b"), pass_on(batch[1], "b"), succeed(stale), fail(batch[3])]

    accepted = settle(stage.connection, [*made, wait(batch[4], 60)], worker="w")

    assert accepted == {one.work_id for one in batch if one is not stale}
    assert [stage.status(run) for run in runs] == [
        "queued",
        "queued",
        "queued",
        "failed",
        "waiting",
    ]
    assert stage.results(runs[2]) == {}
    assert not stage.wrong()


def test_a_stale_end_starts_no_event_handler(stage: Stage) -> None:
    """G3: the runs of event handlers are part of the commit, refused with it."""
    stage.runs(2)
    stale, good = stage.take()
    settle(stage.connection, [give_back(stale)], worker="rescuer")

    def handled(one: Settlement) -> Settlement:
        handler = Handler(uuid7(), "on:x:h", "h", "q", b'{"n":1}')
        return Settlement(
            one.work_id, one.epoch, one.run_id, one.then, one.result, handlers=[handler]
        )

    settle(stage.connection, [handled(succeed(stale)), handled(succeed(good))], worker="w")

    assert stage.rows(
        "SELECT pipeline, status, input FROM taskplatform.runs r WHERE pipeline <> 'p'"
    ) == [("on:x:h", "queued", b'{"n":1}')]
    assert not stage.wrong()


def test_a_commit_that_waited_for_a_release_is_refused(stage: Stage) -> None:
    """G3: the fence holds for a writer that waited for the lock: its snapshot is older. [X]"""
    (run,) = stage.runs()
    (old,) = stage.take()
    zombie = stage.racer()
    with stage.connection.transaction():
        settle(stage.connection, [give_back(old)], worker="rescuer")
        late = zombie.start(settle, [succeed(old)], worker="zombie")
        assert zombie.blocked()

    assert late.result(10) == set()
    assert stage.status(run) == "queued"
    assert stage.results(run) == {}
    assert not stage.wrong()


def test_a_commit_that_waited_for_the_same_commit_is_refused(stage: Stage) -> None:
    """G3: two processes that believe they hold one epoch (a fork, a retry): one commit."""
    (run,) = stage.runs()
    (one,) = stage.take()
    twin = stage.racer()
    with stage.connection.transaction():
        assert settle(stage.connection, [succeed(one)], worker="a")
        second = twin.start(settle, [succeed(one, output=b"2")], worker="b")
        assert twin.blocked()

    assert second.result(10) == set()
    assert stage.results(run) == {"a": b'"done"'}
    assert not stage.wrong()


def test_a_finished_step_is_not_overwritten_by_its_own_holder(stage: Stage) -> None:
    """G4, Q3: the stored output of a version stays, also against the epoch that wrote it."""
    (run,) = stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [keep(one, "b", output=b"1")], worker="w")

    settle(stage.connection, [keep(one, "b", output=b"2")], worker="w")

    assert stage.results(run) == {"a": b"1"}


@pytest.mark.parametrize("delay", [None, 0.0, 30.0, float("inf")])
def test_put_back_work_is_free_of_its_holder(stage: Stage, delay: float | None) -> None:
    """G5: a run without a holder is queued, or says what it waits for and until when."""
    stage.runs()
    (one,) = stage.take()
    made = (
        give_back(one) if delay is None else wait(one, delay, "parked" if delay > 99 else "retry")
    )
    settle(stage.connection, [made], worker="w")

    row = stage.rows("SELECT status, reason, due_at IS NULL FROM taskplatform.runs")[0]
    expected = {
        None: ("queued", None, True),
        0.0: ("waiting", "retry", False),
        30.0: ("waiting", "retry", False),
        float("inf"): ("waiting", "parked", True),
    }
    assert row == expected[delay]
    assert not stage.wrong()
    assert bool(release_due(stage.connection)) is (delay == 0.0)
    assert not stage.wrong()
