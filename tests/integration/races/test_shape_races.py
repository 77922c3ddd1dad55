"""Two sessions at one run: whoever comes second sees what the first has done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.core.context import Context
from taskplatform.storage.cancel import cancel
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Settlement
from tests.integration.races.hand import QUEUE, Hand, drain, send, shift, start
from tests.integration.races.shape_facts import wrong
from tests.integration.races.shaped import Asked, family, fates, forked
from tests.integration.races.stage import Stage


@contextmanager
def open_while(stage: Stage, first: Callable[[Session], object]) -> Iterator[None]:
    """Do the first, and commit it only at the end of the block."""
    session = stage.session()
    with session.transaction():
        first(session)
        yield


def settling(made: list[Settlement]) -> Callable[[Session], set[int]]:
    def commit(session: Session) -> set[int]:
        return settle(session, made, worker="w")

    return commit


def offers(hand: Hand, how: str = "ok") -> list[Settlement]:
    """What a child comes to with the next row that is ready."""
    hand.take(1, False)
    hand.execute([how])
    made, hand.offered = hand.offered, []
    return made


def both(
    stage: Stage, hands: list[Hand], first: str, second: str
) -> tuple[UUID, list[list[Settlement]]]:
    """A run whose two branches have ended in two children that have not committed it."""
    run = start(stage, forked())
    shift(hands[0])
    return run, [offers(hands[0], first), offers(hands[1], second)]


def test_a_cancel_between_the_ends_of_the_last_two_branches(
    stage: Stage, hands: list[Hand]
) -> None:
    run, (left, right) = both(stage, hands, "ok", "ok")
    canceller, other = stage.racer(), stage.racer()
    with open_while(stage, settling(left)):
        cancelled = canceller.start(cancel, run)
        assert canceller.blocked()
        late = other.start(settle, right, worker="w")
        assert other.blocked()
    assert cancelled.result(20)
    late.result(20)
    assert stage.status(run) == "cancelled"
    assert not wrong(stage)
    assert not hands[2].take(10, True)


@pytest.mark.parametrize("fails_first", [True, False])
def test_a_branch_fails_for_good_while_its_sibling_commits(
    stage: Stage, hands: list[Hand], fails_first: bool
) -> None:
    """The sibling's output is kept, and the run ends as failed."""
    ways = ("permanent", "ok") if fails_first else ("ok", "permanent")
    run, (left, right) = both(stage, hands, *ways)
    other = stage.racer()
    with open_while(stage, settling(left)):
        late = other.start(settle, right, worker="w")
        assert other.blocked()
    assert late.result(20) == {right[0].work_id}
    assert not wrong(stage)
    assert list(stage.results(run)) == ["right" if fails_first else "left"]
    drain(hands[2])
    assert stage.status(run) == "failed"


def test_both_branches_fail_for_good_at_once(stage: Stage, hands: list[Hand]) -> None:
    """The first error is the run's."""
    run, (left, right) = both(stage, hands, "permanent", "permanent")
    other = stage.racer()
    with open_while(stage, settling(left)):
        late = other.start(settle, right, worker="w")
        assert other.blocked()
    late.result(20)
    drain(hands[2])
    error = stage.value("SELECT error ->> 'step' FROM taskplatform.runs WHERE id = %s", run)
    assert (stage.status(run), error) == ("failed", "left")


@pytest.mark.parametrize("released_first", [True, False])
def test_the_time_of_a_join_is_over_while_its_last_branch_ends(
    stage: Stage, hands: list[Hand], released_first: bool
) -> None:
    """Nothing is executed again, and what came is collected."""
    p = Pipeline("p", input=Asked)

    @p.map(over="items")
    def each(item: int, ctx: Context) -> str:
        return f"{fates.body(ctx)}={item}"

    run = start(stage, p, items=[7])
    shift(hands[0])
    last = offers(hands[0])
    stage.connection.execute(
        "UPDATE taskplatform.work SET due_at = clock_timestamp() WHERE branch = ''"
    )
    other = stage.racer()
    if released_first:
        with open_while(stage, release_due):
            late = other.start(settle, last, worker="w")
            assert other.blocked()
        late.result(20)
    else:
        with open_while(stage, settling(last)):
            assert other.start(release_due).result(20) == {}
    drain(hands[1])
    assert stage.status(run) == "succeeded"
    assert stage.results(run) == {"each": b'["each[0]=7"]'}


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_child_ends_while_its_parent_is_cancelled(
    stage: Stage, hands: list[Hand], cancelled_first: bool
) -> None:
    run = start(stage, family())
    shift(hands[0])
    end = offers(hands[0])
    other = stage.racer()
    if cancelled_first:
        with open_while(stage, lambda session: cancel(session, run)):
            late = other.start(settle, end, worker="w")
            assert other.blocked()
        assert late.result(20) == set()
    else:
        with open_while(stage, settling(end)):
            cancelled = other.start(cancel, run)
            assert other.blocked()
        assert cancelled.result(20)
    states = stage.rows("SELECT pipeline, status FROM taskplatform.runs ORDER BY pipeline")
    kid = "cancelled" if cancelled_first else "succeeded"
    assert states == [("kid", kid), ("p", "cancelled")]
    assert stage.value("SELECT count(*) FROM taskplatform.work") == 0


def test_a_child_is_retried_while_its_parent_hears_of_its_failure(
    stage: Stage, hands: list[Hand]
) -> None:
    run = start(stage, family())
    shift(hands[0])
    kid = stage.value("SELECT id FROM taskplatform.runs WHERE parent_run = %s", run)
    failure = offers(hands[0], "permanent")
    other = stage.racer()
    with open_while(stage, settling(failure)):
        retried = other.start(retry, kid, lambda *_: Next("work", QUEUE))
        assert other.blocked()
    assert retried.result(20).taken_up
    drain(hands[1])
    assert (stage.status(kid), stage.status(run)) == ("succeeded", "succeeded")
    assert stage.value("SELECT count(*) FROM taskplatform.runs WHERE parent_run = %s", run) == 1


@pytest.mark.parametrize("sent_first", [True, False])
def test_an_event_is_sent_while_its_wait_is_registered(
    stage: Stage, hands: list[Hand], sent_first: bool
) -> None:
    p = Pipeline("p", input=Asked)
    p.wait("one", event="tick", timeout="1h")
    run = start(stage, p)
    register = offers(hands[0])
    other = stage.racer()
    if sent_first:
        with open_while(stage, lambda session: send(session, "tick")):
            late = other.start(settle, register, worker="w")
            assert other.blocked()
        late.result(20)
    else:
        with open_while(stage, settling(register)):
            sent = other.start(send, "tick")
            assert other.blocked()
        sent.result(20)
    drain(hands[1])
    assert stage.results(run) == {"one": b"{}"}


def test_an_event_that_waits_for_the_end_of_a_wait_comes_too_late_for_it(
    stage: Stage, hands: list[Hand]
) -> None:
    """It is there for the next one."""
    p = Pipeline("p", input=Asked)
    p.wait("one", event="tick", timeout="1h")
    p.wait("two", event="tick")
    run = start(stage, p)
    shift(hands[0])
    stage.connection.execute("UPDATE taskplatform.work SET due_at = clock_timestamp()")
    other = stage.racer()

    def end(session: Session) -> None:
        # The sender looks for open waits before this one's time is over.
        session.execute("SELECT FROM taskplatform.runs WHERE id = %s FOR UPDATE", (run,))

    with open_while(stage, end):
        sent = other.start(send, "tick")
        assert other.blocked()
        stage.connection.execute("UPDATE taskplatform.waits SET expires_at = clock_timestamp()")
    sent.result(20)
    release_due(stage.connection)
    drain(hands[1])
    assert stage.results(run) == {"one": b"null", "two": b"{}"}
