"""Rescue beside a second rescuer and beside the living: charged once, and only what ran."""

from time import monotonic_ns
from uuid import UUID

import pytest

from taskplatform.core.ids import uuid7
from taskplatform.executor.notes import Note
from taskplatform.storage import leases
from taskplatform.storage.claim import Claimed, held_by
from taskplatform.storage.settle import settle
from taskplatform.supervisor.rescue import Loss, Rescuer, lost_holders
from tests.integration.races.stage import FREE, Stage, keep, pass_on, succeed

RESCUER = Rescuer("rescuer", "q", 60.0)


def note(one: Claimed) -> Note:
    """The body of that claim runs."""
    return Note(one.work_id, one.epoch, monotonic_ns(), 0)


def expire(stage: Stage, holder: int) -> None:
    """The holder's lease ran out a moment ago."""
    stage.connection.execute(
        "UPDATE taskplatform.holders SET lease_until = clock_timestamp() WHERE id = %s", (holder,)
    )


def hold(stage: Stage, runs: int, *, started: bool = False) -> tuple[int, list[Claimed]]:
    """A holder with that many runs of its own."""
    stage.runs(runs)
    holder = stage.holder()
    return holder, stage.take(holder=holder, costs={} if started else FREE)


def test_two_rescuers_charge_a_crash_once(stage: Stage) -> None:
    """F5, F30: several rescuers are safe; the second finds nothing it may write."""
    holder, (one,) = hold(stage, 1, started=True)
    expire(stage, holder)
    (loss,) = lost_holders(stage.connection)
    second = stage.racer()
    with stage.connection.transaction():
        assert RESCUER.rescue(stage.connection, loss) == {"q"}
        rung = second.start(lambda connection: RESCUER.rescue(connection, loss))
        assert second.blocked()

    assert rung.result(10) == set()
    assert stage.attempts(one.run_id) == [("a", 1, "crashed")]
    assert lost_holders(stage.connection) == []
    (heir,) = stage.take()
    assert heir.attempts == {"a": 1}
    assert not stage.wrong()


def test_a_commit_that_came_first_is_not_charged_to_the_next_step(stage: Stage) -> None:
    """G3, F7: the holder went on to the next step while the rescuer waited: nothing is written."""
    holder, (one,) = hold(stage, 1, started=True)
    expire(stage, holder)
    (loss,) = lost_holders(stage.connection)
    rescuer = stage.racer()
    with stage.connection.transaction():
        assert settle(stage.connection, [keep(one, "b")], worker="zombie")
        rung = rescuer.start(lambda connection: RESCUER.rescue(connection, loss))
        assert rescuer.blocked()

    assert rung.result(10) == set()
    assert stage.attempts(one.run_id) == []
    assert stage.results(one.run_id) == {"a": b'"done"'}
    # It holds work without a lease now: the next round gives step b back, and charges nothing.
    assert [loss.holder for loss in lost_holders(stage.connection)] == [holder]
    assert RESCUER.rescue(stage.connection, lost_holders(stage.connection)[0]) == {"q"}
    assert stage.attempts(one.run_id) == []
    (heir,) = stage.take()
    assert heir.step == "b"
    assert not stage.wrong()


def test_an_end_that_came_first_leaves_nothing_to_rescue(stage: Stage) -> None:
    """F42: a run that ended while the rescuer waited stays ended."""
    holder, (one,) = hold(stage, 1, started=True)
    expire(stage, holder)
    (loss,) = lost_holders(stage.connection)
    rescuer = stage.racer()
    with stage.connection.transaction():
        settle(stage.connection, [succeed(one)], worker="zombie")
        rung = rescuer.start(lambda connection: RESCUER.rescue(connection, loss))
        assert rescuer.blocked()

    assert rung.result(10) == set()
    assert stage.status(one.run_id) == "succeeded"
    assert stage.attempts(one.run_id) == []
    assert not stage.wrong()


def test_a_late_result_after_a_rescue_is_refused(stage: Stage) -> None:
    """G3, F7: a zombie that wakes after it was given up writes nothing."""
    holder, (one,) = hold(stage, 1, started=True)
    expire(stage, holder)
    zombie = stage.racer()
    with stage.connection.transaction():
        RESCUER.rescue(stage.connection, lost_holders(stage.connection)[0])
        late = zombie.start(settle, [succeed(one)], worker="zombie")
        assert zombie.blocked()

    assert late.result(10) == set()
    assert stage.results(one.run_id) == {}
    assert not stage.wrong()


def test_a_crash_in_a_batch_is_charged_to_the_body_that_ran(stage: Stage) -> None:
    """F30: the others are given back as they were, and so they may go in a batch again."""
    holder, batch = hold(stage, 3)
    loss = Loss(holder, "crashed", note(batch[1]), certain=True)

    RESCUER.rescue(stage.connection, loss)

    assert [stage.attempts(one.run_id) for one in batch] == [[], [("a", 1, "crashed")], []]
    alone = stage.rows("SELECT alone FROM taskplatform.work ORDER BY id")
    assert alone == [(False,), (True,), (False,)]
    assert stage.rows("SELECT alone FROM taskplatform.step_attempts") == [(False,)]


def test_a_crash_that_nobody_saw_sets_the_whole_batch_apart(stage: Stage) -> None:
    """F30: charged to none of it; its members are next claimed alone."""
    holder, batch = hold(stage, 3)
    expire(stage, holder)

    RESCUER.rescue(stage.connection, lost_holders(stage.connection)[0])

    assert [stage.attempts(one.run_id) for one in batch] == [[], [], []]
    assert [len(stage.take()) for _ in range(4)] == [1, 1, 1, 0]


def test_three_crashes_alone_park_the_run(stage: Stage) -> None:
    """F30: never requeued after the third; crashes in a batch do not count."""
    holder, batch = hold(stage, 2)
    RESCUER.rescue(stage.connection, Loss(holder, "crashed", note(batch[0]), certain=True))
    run = batch[0].run_id
    for expected in ("queued", "queued", "waiting"):
        holder = stage.holder()
        (one,) = [one for one in stage.take(1, holder=holder, costs={}) if one.run_id == run] or (
            stage.take(1, holder=holder, costs={})
        )
        RESCUER.rescue(stage.connection, Loss(holder, "crashed", note(one), certain=True))
        assert stage.status(run) == expected

    assert [outcome for _, _, outcome in stage.attempts(run)] == ["crashed"] * 4
    reason = stage.rows("SELECT reason, waiting_for FROM taskplatform.runs WHERE id = %s", run)
    assert reason == [("parked", "step a crashed 3 times in 24 hours")]
    assert not stage.wrong()


def test_a_busy_child_keeps_only_the_body_that_runs(stage: Stage) -> None:
    """Design: claims of a busy child that it has not started are released."""
    holder, batch = hold(stage, 3)

    assert RESCUER.take_back(stage.connection, holder, note(batch[0])) == {"q"}

    assert [one.run_id for one in held_by(stage.connection, holder)] == [batch[0].run_id]
    assert settle(stage.connection, [succeed(batch[0])], worker="w") == {batch[0].work_id}
    assert settle(stage.connection, [succeed(batch[1])], worker="w") == set()


def test_what_a_child_claimed_after_its_body_ended_is_not_taken_back(stage: Stage) -> None:
    """The child was busy when it was looked at; by now it has a new batch, of which it knows."""
    holder, batch = hold(stage, 2)
    seen = note(batch[0])
    settle(stage.connection, [succeed(one) for one in batch], worker="w")
    stage.runs(3)
    fresh = stage.take(holder=holder)

    assert RESCUER.take_back(stage.connection, holder, seen) == set()

    assert len(held_by(stage.connection, holder)) == len(fresh) == 3


def test_a_branch_that_moves_on_while_it_is_taken_back_is_taken_back_too(stage: Stage) -> None:
    """W14: the batch's outcomes are committed while its slow body runs; none may stay behind it."""
    holder, batch = hold(stage, 3)
    rescuer = stage.racer()
    with stage.connection.transaction():
        settle(stage.connection, [keep(batch[1], "b")], worker="w")
        rung = rescuer.start(
            lambda connection: RESCUER.take_back(connection, holder, note(batch[0]))
        )
        assert rescuer.blocked()

    assert rung.result(10) == {"q"}
    assert [one.run_id for one in held_by(stage.connection, holder)] == [batch[0].run_id]
    assert {one.step for one in stage.take()} == {"a", "b"}


def test_a_lease_is_renewed_while_its_row_exists(stage: Stage) -> None:
    """G5: renewed means 15 seconds from now; a holder that was given up learns it."""
    kept, lost = stage.holder(), stage.holder()
    expire(stage, kept)
    leases.forget(stage.connection, lost)

    assert leases.renew(stage.connection, [kept, lost]) == {kept}
    assert leases.renew(stage.connection, []) == set()

    left = "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM taskplatform.holders"
    assert 14 < stage.value(left) <= 15
    assert leases.lost(stage.connection) == []


def test_lost_holders_are_those_without_a_lease_in_force(stage: Stage) -> None:
    """G5: expired, or holding work without a lease row at all; each once."""
    _living, _ = hold(stage, 1)
    expired, _ = hold(stage, 1)
    both, _ = hold(stage, 1)
    empty = stage.holder()
    stage.runs(2)
    stage.take(holder=999_999)
    for holder in (expired, both, empty):
        expire(stage, holder)

    assert leases.lost(stage.connection) == sorted([expired, both, empty, 999_999])

    for loss in lost_holders(stage.connection):
        RESCUER.rescue(stage.connection, loss)
    assert leases.lost(stage.connection) == []
    assert stage.value("SELECT count(*) FROM taskplatform.work WHERE holder IS NULL") == 4


def test_two_renewals_in_opposite_order_do_not_wait_for_each_other_in_a_circle(
    stage: Stage,
) -> None:
    """Two supervisors of one worker for a moment, one restarted: no deadlock."""
    first, second = stage.holder(), stage.holder()
    other = stage.racer()
    with stage.connection.transaction():
        leases.renew(stage.connection, [first])
        renewed = other.start(leases.renew, [second, first])
        assert other.blocked()
        leases.renew(stage.connection, [first, second])

    assert renewed.result(10) == {first, second}


@pytest.mark.parametrize("crashes", [0, 2])
def test_crashes_are_counted_by_step_and_day(stage: Stage, crashes: int) -> None:
    """F30: within 24 hours, alone, of that step of that run."""
    run = uuid7()

    def crashed(run: UUID, step: str, number: int, *, alone: bool = True, hours: int = 0) -> None:
        stage.connection.execute(
            "INSERT INTO taskplatform.step_attempts VALUES (%s, %s, %s, 'crashed', NULL, NULL,"
            " clock_timestamp() - make_interval(hours => %s), 'w', 1, %s)",
            (run, step, number, hours, alone),
        )

    for number in range(crashes):
        crashed(run, "a", number + 1, hours=number * 23)
    crashed(run, "a", 10, hours=25)
    crashed(run, "a", 11, alone=False)
    crashed(run, "b", 1)
    crashed(uuid7(), "a", 1)

    assert leases.crashes(stage.connection, run, "a") == crashes


def test_a_hand_back_of_finished_work_writes_nothing(stage: Stage) -> None:
    """F11: the body ended just as the grace did: no `interrupted` attempt of the next step."""
    holder, (one,) = hold(stage, 1)
    settle(stage.connection, [pass_on(one, "b")], worker="w")

    assert RESCUER.hand_back(stage.connection, holder, note(one)) == set()

    assert stage.attempts(one.run_id) == []
    assert not stage.wrong()
