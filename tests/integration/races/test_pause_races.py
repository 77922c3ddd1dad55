"""Pauses beside claims, enqueues and resumes; and the crashes by which a pipeline pauses itself."""

from time import monotonic_ns
from uuid import UUID

import pytest

from taskplatform.errors import Conflict
from taskplatform.executor.notes import Note
from taskplatform.storage import crashes, pauses
from taskplatform.storage.claim import Claimed, claim_run
from taskplatform.storage.dispatch import outlook
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.settle import settle
from taskplatform.supervisor.rescue import Loss, Rescuer, lost_holders
from tests.integration.races.stage import Stage, fail, give_back, succeed

RESCUER = Rescuer("rescuer", "q", 60.0)


def reasons(stage: Stage) -> set[tuple[str, str | None, str | None]]:
    """Status, reason and what it waits for, of all runs."""
    return set(stage.rows("SELECT status, reason, waiting_for FROM taskplatform.runs"))


def crash(stage: Stage, one: Claimed, *, holder: int) -> list[tuple[str, str]]:
    """A child dies in that body; which pipelines are paused by it."""
    body = Note(one.work_id, one.epoch, monotonic_ns(), 0)
    noted = crashes.note(stage.connection, [(body.work_id, body.epoch)])
    tripped = crashes.trip(stage.connection, noted, 5)
    RESCUER.rescue(stage.connection, Loss(holder, "crashed", body, certain=True))
    return tripped


def test_ready_work_of_a_paused_pipeline_waits_until_it_is_resumed(stage: Stage) -> None:
    """W14, Q1: set aside and let go in batches; nothing is lost, nothing is in the claims' way."""
    stage.runs(pauses.BATCH + 7)
    stage.runs(2, pipeline="other")
    assert pauses.pause(stage.connection, "p", "the API is down")
    assert not pauses.pause(stage.connection, "p", None)

    assert pauses.set_aside(stage.connection, ["p"]) == pauses.BATCH
    assert pauses.set_aside(stage.connection, ["p"]) == 7
    assert pauses.set_aside(stage.connection, ["p"]) == 0

    assert reasons(stage) == {("queued", None, None), ("waiting", "paused", "the API is down")}
    assert outlook(stage.connection, ["q"], ["p", "other"]).ready == ["q"]
    assert outlook(stage.connection, ["q"], ["p"]).ready == []
    assert len(stage.take(pipelines=["p", "other"], costs={"other.a": 0.0})) == 2
    assert pauses.let_go(stage.connection, ["p"]).total() == 0
    assert not stage.wrong()

    assert pauses.resume(stage.connection, "p")
    assert not pauses.resume(stage.connection, "p")
    assert pauses.let_go(stage.connection, ["p"]) == {"q": pauses.BATCH}
    assert pauses.let_go(stage.connection, ["p"]) == {"q": 7}
    assert len(stage.take(1000)) == pauses.BATCH + 7
    assert not stage.wrong()


def test_what_is_held_when_the_pipeline_is_paused_may_end(stage: Stage) -> None:
    """G3: a pause takes nothing away from who holds it; what is put back is set aside."""
    first, second = stage.runs(2)
    one, other = stage.take()
    pauses.pause(stage.connection, "p", None)

    assert pauses.set_aside(stage.connection, ["p"]) == 0
    assert settle(stage.connection, [succeed(one)], worker="w") == {one.work_id}
    assert settle(stage.connection, [give_back(other)], worker="w") == {other.work_id}
    assert pauses.set_aside(stage.connection, ["p"]) == 1

    assert (stage.status(first), stage.status(second)) == ("succeeded", "waiting")
    assert not stage.wrong()


def test_a_claim_that_came_first_is_not_set_aside(stage: Stage) -> None:
    """G3: the pause read the row while a claim had it; the claimer keeps it."""
    (run,) = stage.runs()
    pauses.pause(stage.connection, "p", None)
    pauser = stage.racer()
    with stage.connection.transaction():
        (one,) = stage.take()
        set_aside = pauser.start(pauses.set_aside, ["p"])
        assert pauser.blocked()

    set_aside.result(10)
    assert settle(stage.connection, [succeed(one)], worker="w") == {one.work_id}
    assert stage.status(run) == "succeeded"
    assert not stage.wrong()


def test_a_pause_that_came_first_is_not_claimed(stage: Stage) -> None:
    """A claim with a list of pipelines from before skips what is just being set aside."""
    stage.runs(3)
    pauses.pause(stage.connection, "p", None)
    claimer = stage.racer()
    holder, after = stage.holder(), stage.last_epoch()
    with stage.connection.transaction():
        pauses.set_aside(stage.connection, ["p"])
        claimed = claimer.start(
            lambda connection: stage.take(holder=holder, connection=connection)
        ).result(10)
        assert claimed == []

    assert stage.last_epoch() == after
    assert reasons(stage) == {("waiting", "paused", None)}


def test_a_resume_beside_a_setting_aside_leaves_nothing_behind(stage: Stage) -> None:
    """G5: what is set aside on the word of a pause that has just ended is let go next."""
    stage.runs(3)
    pauses.pause(stage.connection, "p", None)
    other = stage.racer()
    with stage.connection.transaction():
        pauses.set_aside(stage.connection, ["p"])
        assert other.start(pauses.resume, "p").result(10)
        assert other.start(pauses.let_go, ["p"]).result(10).total() == 0

    assert pauses.let_go(stage.connection, ["p"]) == {"q": 3}
    assert len(stage.take()) == 3
    assert not stage.wrong()


def test_a_canvas_message_claims_nothing_of_a_paused_pipeline(stage: Stage) -> None:
    """A claim by run looks at the pause in its own statement."""
    (run,) = stage.runs()
    pauses.pause(stage.connection, "p", None)
    holder = stage.holder()

    def claimed() -> list[UUID]:
        after = stage.last_epoch()
        found = claim_run(stage.connection, holder=holder, after=after, run_id=run)
        return [one.run_id for one in found]

    assert claimed() == []
    pauses.resume(stage.connection, "p")
    assert claimed() == [run]


def test_a_retry_of_a_run_that_waits_for_its_pipeline_says_what_to_do(stage: Stage) -> None:
    (run,) = stage.runs()
    pauses.pause(stage.connection, "p", None)
    pauses.set_aside(stage.connection, ["p"])
    with pytest.raises(Conflict, match="pipelines resume"):
        retry(stage.connection, run, lambda *_: Next("a", "q"))


def test_five_children_killed_in_a_minute_pause_their_pipeline(stage: Stage) -> None:
    """F31, W14: at the fifth, once, with its reason; a resume begins to count anew."""
    tripped = []
    for _ in range(6):
        stage.runs()
        holder = stage.holder()
        (one,) = stage.take(1, holder=holder, costs={})
        tripped.append(crash(stage, one, holder=holder))

    assert tripped[:4] + tripped[5:] == [[]] * 5
    assert tripped[4] == [("p", "it killed 5 pool children within 60 s")]
    (pause,) = pauses.pauses(stage.connection)
    assert (pause.pipeline, pause.reason) == ("p", "breaker")
    assert pauses.resume(stage.connection, "p")
    assert crashes.trip(stage.connection, ["p"], 1) == []


def test_crashes_that_were_not_the_step_s_fault_pause_nothing(stage: Stage) -> None:
    """Its step ended well since, it was long ago, or all died at one moment: not a crash loop."""
    stage.runs(20)
    holder = stage.holder()
    died = stage.take(20, holder=holder)
    bodies = [(one.work_id, one.epoch) for one in died]
    assert crashes.note(stage.connection, bodies[:10]) == ["p"]
    for body in bodies[10:]:
        crashes.note(stage.connection, [body])
    settle(stage.connection, [succeed(one) for one in died[10:]], worker="w")

    assert crashes.trip(stage.connection, ["p"], 2) == []
    assert crashes.trip(stage.connection, ["p"], 1) != []
    pauses.resume(stage.connection, "p")
    assert crashes.note(stage.connection, bodies[:1]) == ["p"]
    stage.connection.execute(
        "UPDATE taskplatform.crashes SET crashed_at = crashed_at - interval '61 s'"
    )
    assert crashes.trip(stage.connection, ["p"], 1) == []
    assert crashes.note(stage.connection, [(bodies[0][0], bodies[0][1] - 1)]) == []


def test_of_two_supervisors_that_count_at_once_one_sees_both(stage: Stage) -> None:
    """F5, F31: notes are committed before they are counted, so the fifth is never missed."""
    stage.runs(5)
    holder = stage.holder()
    bodies = [(one.work_id, one.epoch) for one in stage.take(holder=holder)]
    for body in bodies[:3]:
        crashes.note(stage.connection, [body])
    one, other = stage.racer(), stage.racer()
    one.start(crashes.note, bodies[3:4]).result(10)
    other.start(crashes.note, bodies[4:]).result(10)
    tripped = [racer.start(crashes.trip, ["p"], 5).result(10) for racer in (one, other)]
    assert [len(pipelines) for pipelines in tripped] == [1, 0]


def attempts_alone(stage: Stage, run: UUID) -> int:
    """How many crashes still count."""
    return int(
        stage.value(
            "SELECT count(*) FROM taskplatform.step_attempts WHERE run_id = %s AND alone"
            " AND outcome = 'crashed'",
            run,
        )
    )


def test_a_retry_by_hand_of_a_failed_run_forgives_its_crashes(stage: Stage) -> None:
    """Q23, F30: as that of a parked one does; the next crash is the first again."""
    (run,) = stage.runs()
    for _ in range(2):
        holder = stage.holder()
        (one,) = stage.take(1, holder=holder, costs={})
        crash(stage, one, holder=holder)
    settle(stage.connection, [fail(stage.take_started())], worker="w")
    assert (stage.status(run), attempts_alone(stage, run)) == ("failed", 2)

    retry(stage.connection, run, lambda *_: Next("a", "q"))

    assert attempts_alone(stage, run) == 0
    holder = stage.holder()
    (one,) = stage.take(1, holder=holder, costs={})
    crash(stage, one, holder=holder)
    assert stage.status(run) == "queued"


def test_takeovers_of_what_may_live_on_are_counted_apart(stage: Stage) -> None:
    """F33: three workers fell silent in it: parked, with that reason; two crashes do not add up."""
    (run,) = stage.runs()
    for _ in range(2):
        holder = stage.holder()
        (one,) = stage.take(1, holder=holder, costs={})
        crash(stage, one, holder=holder)
    for expected in ("queued", "queued", "waiting"):
        stage.take_started()
        stage.connection.execute("UPDATE taskplatform.holders SET lease_until = '-infinity'")
        for loss in lost_holders(stage.connection):
            RESCUER.rescue(stage.connection, loss)
        assert stage.status(run) == expected

    assert reasons(stage) == {
        (
            "waiting",
            "parked",
            "step a was taken over 3 times in 24 hours from workers that fell silent",
        )
    }
    assert not stage.wrong()


def test_a_crash_of_unknown_work_is_not_counted(stage: Stage) -> None:
    assert crashes.note(stage.connection, [(123456, 1)]) == []
