"""What a run rests on: not lost, not started twice, and charged to whom it belongs."""

import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.core.context import Context
from taskplatform.core.retry import Retry
from taskplatform.storage import clock
from taskplatform.storage.cancel import cancel
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.orphans import cancel_children
from taskplatform.storage.retry import Next, retry
from taskplatform.supervisor.rescue import Loss, Rescuer
from tests.integration.races.hand import QUEUE, Hand, drain, send, shift, start
from tests.integration.races.shaped import Asked, family, fates, forked, same
from tests.integration.races.stage import Stage

RESCUER = Rescuer("rescuer", QUEUE, 60.0)


def test_the_step_behind_a_join_executes_on_its_own_queue(stage: Stage, hands: list[Hand]) -> None:
    run = start(stage, forked())
    drain(hands[0])
    assert sorted(stage.results(run)) == ["left", "right"]
    (one,) = stage.take(queues=["other"])
    assert (one.step, one.rest) == ("end", None)


@pytest.mark.parametrize("what", ["crashed", "cancelled"])
def test_the_body_behind_a_join_is_charged_to_its_own_step(
    stage: Stage, hands: list[Hand], what: str
) -> None:
    p = Pipeline("p", input=Asked)

    @p.map(over="items")
    def each(item: int) -> int:
        return item

    @p.step
    def end(ctx: Context) -> str:
        return fates.body(ctx)

    run = start(stage, p, items=[1, 2])
    for _ in range(2):
        shift(hands[0])
    hand = hands[0]
    hand.take(1, False)
    hand.execute(["ok"])
    assert "end" not in stage.results(run)
    hand.commit()
    hand.execute(["ok"])
    if what == "crashed":
        RESCUER.rescue(stage.connection, Loss(hand.holder, "crashed", None, certain=False))
    else:
        cancel(stage.connection, run)
    assert stage.attempts(run) == [("end", 1, what)]


def test_nobody_is_charged_for_the_loss_of_a_join(stage: Stage, hands: list[Hand]) -> None:
    """It was claimed, and what follows was not started."""
    run = start(stage, forked())
    for _ in range(2):
        shift(hands[0])
    hands[0].take(1, False)
    RESCUER.rescue(stage.connection, Loss(hands[0].holder, "crashed", None, certain=False))
    assert stage.attempts(run) == []
    assert stage.status(run) == "queued"


@pytest.mark.parametrize("what", ["crashed", "cancelled"])
def test_nobody_is_charged_for_the_loss_of_a_run_that_is_about_to_fail(
    stage: Stage, hands: list[Hand], what: str
) -> None:
    """Its branches have ended, and what undoes them was not started."""
    run = start(stage, forked())
    shift(hands[0])
    for how in ("ok", "permanent"):
        hands[0].take(1, False)
        hands[0].execute([how])
        hands[0].commit()
    (main,) = hands[0].take(1, False)
    assert main.failing
    if what == "crashed":
        RESCUER.rescue(stage.connection, Loss(hands[0].holder, what, None, certain=False))
    else:
        cancel(stage.connection, run)
    assert stage.attempts(run) == [("right", 1, "failed")]


def test_a_child_that_is_retried_and_ends_while_its_parent_looks_is_not_missed(
    stage: Stage, hands: list[Hand]
) -> None:
    """The parent was woken by the failure, sees that the child is at it again, and rests on it."""
    run = start(stage, family())
    shift(hands[0])
    kid = stage.value("SELECT id FROM taskplatform.runs WHERE parent_run = %s", run)
    shift(hands[0], "permanent")
    assert (stage.status(kid), stage.status(run)) == ("failed", "queued")
    retry(stage.connection, kid, lambda *_: Next("work", QUEUE))
    (one,) = hands[1].take(1, True)[:1]
    assert one.run_id == run
    hands[1].execute(["ok"])
    shift(hands[0])
    assert stage.status(kid) == "succeeded"
    hands[1].commit()
    drain(hands[2])
    assert stage.status(run) == "succeeded"


def test_a_branch_of_a_run_that_fails_makes_no_child(stage: Stage, hands: list[Hand]) -> None:
    """It was at it when its sibling failed for good."""
    p = Pipeline("p", input=Asked)

    @p.step(group="both")
    def broken(ctx: Context) -> str:
        return fates.body(ctx)

    kid = Pipeline("kid", input=Asked)

    @kid.step
    def work(ctx: Context) -> str:
        return fates.body(ctx)

    kid.finalize()
    p.child("kid", kid, input=same, group="both")
    run = start(stage, p)
    shift(hands[0])
    hands[0].take(1, False)
    hands[1].take(1, False)
    hands[1].execute(["ok"])
    hands[0].execute(["permanent"])
    hands[0].commit()
    hands[1].commit()
    assert stage.value("SELECT count(*) FROM taskplatform.runs WHERE parent_run = %s", run) == 0
    drain(hands[2])
    assert stage.status(run) == "failed"


def test_a_branch_that_waits_for_its_retry_is_retried_while_another_is_ready(
    stage: Stage, hands: list[Hand]
) -> None:
    p = Pipeline("p", input=Asked, retry=Retry(delays=["1h"]))

    @p.step(group="both")
    def left(ctx: Context) -> str:
        return fates.body(ctx)

    @p.step(group="both")
    def right(ctx: Context) -> str:
        return fates.body(ctx)

    run = start(stage, p)
    shift(hands[0])
    hands[0].take(1, False)
    hands[0].execute(["fail"])
    hands[0].commit()
    hands[1].take(1, False)
    RESCUER.rescue(stage.connection, Loss(hands[1].holder, "crashed", None, certain=False))
    assert stage.status(run) == "queued"
    assert retry(stage.connection, run, lambda *_: Next("left", QUEUE)).taken_up
    assert not retry(stage.connection, run, lambda *_: Next("left", QUEUE)).taken_up
    drain(hands[0])
    assert stage.status(run) == "succeeded"


def test_who_comes_late_cancels_no_child_of_a_run_that_goes_on_again(
    stage: Stage, hands: list[Hand]
) -> None:
    """Whoever had failed the run was stopped before it cancelled what was left of it."""
    run = start(stage, family())
    shift(hands[0])
    shift(hands[0], "permanent")
    shift(hands[0])
    assert stage.status(run) == "failed"
    retry(stage.connection, run, lambda *_: Next("kid", QUEUE))
    shift(hands[0])
    assert cancel_children(stage.connection, [run]) == 0
    drain(hands[0])
    assert stage.status(run) == "succeeded"


def test_an_event_that_was_matched_and_not_used_is_there_when_the_run_is_retried(
    stage: Stage, hands: list[Hand]
) -> None:
    """A sibling failed for good between the match and the use."""
    p = Pipeline("p", input=Asked)

    @p.step(group="both")
    def broken(ctx: Context) -> str:
        return fates.body(ctx)

    p.wait("approval", event="approved", group="both")
    run = start(stage, p)
    shift(hands[0])
    hands[0].take(1, False)
    shift(hands[1])
    send(stage.connection, "approved")
    hands[0].execute(["permanent"])
    hands[0].commit()
    drain(hands[0])
    assert stage.status(run) == "failed"
    retry(stage.connection, run, lambda *_: Next("broken", QUEUE))
    drain(hands[0])
    assert stage.status(run) == "succeeded"


def test_a_matched_event_ends_the_wait_whose_time_was_over_meanwhile(
    stage: Stage, hands: list[Hand]
) -> None:
    """It was looked at before the event came, and committed after it: one of both counts."""
    p = Pipeline("p", input=Asked)
    p.wait("one", event="tick", timeout="1h")
    p.wait("two", event="tick")
    run = start(stage, p)
    shift(hands[0])
    clock.advance(stage.connection, 3599.9)
    send(stage.connection, "tick")
    clock.advance(stage.connection, 3600)
    release_due(stage.connection)
    drain(hands[0])
    assert stage.results(run) == {"one": b"{}"}
