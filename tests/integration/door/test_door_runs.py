"""What can be done to a run: cancel, retry, replay."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.client.reading import get_run
from taskplatform.core import registry
from taskplatform.errors import (
    Conflict,
    InvalidInput,
    KeyTaken,
    PipelineNotFound,
    RunNotFound,
)
from taskplatform.storage import cancel as storage
from taskplatform.storage.connection import Session
from taskplatform.storage.settlement import End, Keep

Orders = Pipeline[Any]


def statuses(run: Any) -> dict[str, str]:
    return {step.name: step.status for step in run.view().steps}


def test_cancel_ends_a_queued_run_and_its_work(orders: Orders, connection: Session) -> None:
    """G10."""
    run = orders.enqueue({"number": "1"})

    assert run.cancel()

    assert run.status == "cancelled"
    assert connection.execute("SELECT FROM taskplatform.work").fetchall() == []
    assert not run.cancel()
    assert statuses(run) == {"check": "cancelled", "price": "pending"}


def test_a_late_result_of_a_cancelled_run_is_refused(orders: Orders, worker: Any) -> None:
    """G10: the running body is a cancelled attempt, and what it commits matches nothing."""
    run = orders.enqueue({"number": "1"})
    one = worker.claim(run.id)
    assert worker.commit(one, "check", b'"fine"', Keep("price", mark=True))

    assert run.cancel()

    assert not worker.commit(one, "price", b'{"total":7}', End("succeeded", "price"))
    view = run.view()
    assert statuses(run) == {"check": "succeeded", "price": "cancelled"}
    (attempt,) = view.steps[1].attempts
    assert (attempt.number, attempt.outcome, attempt.worker) == (1, "cancelled", "tester")
    assert attempt.started_at is not None


def test_cancel_of_an_ended_run_changes_nothing(orders: Orders, worker: Any) -> None:
    """G10: too late is said."""
    run = orders.enqueue({"number": "1"})
    worker.succeed(run.id)

    assert not run.cancel()
    assert run.status == "succeeded"
    with pytest.raises(RunNotFound):
        storage.cancel(worker.connection, uuid4())


def test_a_cancel_whose_answer_was_lost_is_still_a_yes(orders: Orders, connection: Session) -> None:
    """L12."""
    run = orders.enqueue({"number": "1"})
    assert storage.cancel(connection, run.id)
    assert storage.cancel(connection, run.id, again=True)


def test_cancel_beside_a_commit_leaves_no_live_work(
    orders: Orders, connection: Session, sessions: Callable[[], Session], blocked: Any
) -> None:
    """G10: cancel waits for the transaction that makes the next work, then removes that too."""
    run = orders.enqueue({"number": "1"})
    with ThreadPoolExecutor(1) as thread:
        with connection.transaction():
            connection.execute("SELECT FROM taskplatform.runs WHERE id = %s FOR SHARE", [run.id])
            other = sessions()
            answer = thread.submit(storage.cancel, other, run.id)
            blocked(connection, other)
            connection.execute(
                "INSERT INTO taskplatform.work (run_id, branch, pipeline, step, queue)"
                " VALUES (%s, 'next', 'orders', 'price', 'taskplatform')",
                [run.id],
            )
        assert answer.result()

    assert connection.execute("SELECT FROM taskplatform.work").fetchall() == []


def test_retry_takes_up_a_failed_run_at_the_failed_step(
    orders: Orders, worker: Any, rung: Counter[str]
) -> None:
    """Q16: finished steps keep their one attempt."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id)
    assert run.refresh().status == "failed"
    assert run.error is not None
    assert (run.error.type, run.error.step) == ("ValueError", "price")

    assert run.retry().status == "queued"

    assert run.view().error is None
    one = worker.claim(run.id)
    assert (one.step, one.failures, one.attempts) == ("price", 0, {"price": 1})
    worker.commit(one, "price", b'{"total":7}', End("succeeded", "price", owns_key=True))
    assert [len(step.attempts) for step in run.view().steps] == [1, 2]


def test_twenty_clicks_take_it_up_once(orders: Orders, worker: Any, connection: Session) -> None:
    """F41: the others see it queued."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id)

    with ThreadPoolExecutor(20) as threads:
        found = {one.status for one in threads.map(lambda _: get_run(run.id).retry(), range(20))}

    assert found == {"queued"}
    assert connection.execute("SELECT count(*) FROM taskplatform.work").fetchone() == (1,)


@pytest.mark.parametrize(("reason", "delay"), [("retry", 300.0), ("parked", float("inf"))])
def test_retry_ends_a_wait_and_grants_a_fresh_budget(
    orders: Orders, worker: Any, reason: str, delay: float
) -> None:
    """Q16: waiting for a retry, or for a person."""
    run = orders.enqueue({"number": "1"})
    worker.put_back(run.id, reason, delay)
    run.refresh()
    assert (run.status, run.reason, run.due_at is None) == ("waiting", reason, delay > 300)
    assert statuses(run)["check"] == "waiting"

    assert run.retry().status == "queued"

    one = worker.claim(run.id)
    assert (one.failures, one.put_off) == (0, 0)
    assert one.attempts == {"check": 1}


def test_retry_refuses_other_states_and_says_what_to_do(orders: Orders, worker: Any) -> None:
    """Q16."""
    later = orders.enqueue({"number": "1"}, delay="5m")
    with pytest.raises(Conflict, match=r"is scheduled, it waits until .* UTC"):
        later.retry()
    throttled = orders.enqueue({"number": "2"})
    worker.put_back(throttled.id, "throttle", 60.0)
    with pytest.raises(Conflict, match=r"is waiting \(throttle\) until .*: it goes on by itself"):
        throttled.retry()
    running = orders.enqueue({"number": "3"})
    worker.claim(running.id)
    with pytest.raises(Conflict, match="is running: it is being executed"):
        running.retry()
    done = orders.enqueue({"number": "4"})
    worker.succeed(done.id)
    with pytest.raises(Conflict, match="succeeded: there is nothing to retry; replay it"):
        done.retry()
    running.cancel()
    with pytest.raises(Conflict, match="cancelled for good: replay it"):
        running.retry()


def test_retry_takes_its_key_back_or_names_the_new_owner(orders: Orders, worker: Any) -> None:
    """G7."""
    old = orders.enqueue({"number": "1"})
    worker.break_down(old.id)
    new = orders.enqueue({"number": "1"})
    assert new.id != old.id

    with pytest.raises(KeyTaken, match=str(new.id)):
        old.retry()
    assert old.refresh().status == "failed"

    new.cancel()
    old.retry()
    assert orders.enqueue({"number": "1"}).id == old.id


def test_retry_within_the_window_makes_the_key_active_again(orders: Orders, worker: Any) -> None:
    """G7, Q14."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id, key_seconds=3600)
    run.retry()

    row = worker.connection.execute("SELECT expires_at FROM taskplatform.keys").fetchone()
    assert row == (None,)


def test_retry_of_a_forced_run_leaves_the_key_alone(orders: Orders, worker: Any) -> None:
    """G7: a forced run never owns it."""
    owner = orders.enqueue({"number": "1"})
    forced = orders.enqueue({"number": "1"}, force=True)
    worker.break_down(forced.id)

    forced.retry()
    assert orders.enqueue({"number": "1"}).id == owner.id


def test_retry_needs_the_pipelines_code(orders: Orders, worker: Any) -> None:
    """Q16: nothing has changed after the error."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id)
    registry.clear()

    with pytest.raises(PipelineNotFound):
        run.retry()
    assert run.refresh().status == "failed"


def test_a_replay_is_a_new_run_that_owns_no_key(orders: Orders, worker: Any) -> None:
    """Q16: from the start, with the same input, lineage kept."""
    old = orders.enqueue({"number": "1", "amount": 3, "user": "u", "weight": 5})
    worker.succeed(old.id, key_seconds=3600)

    new = old.replay()

    assert new.id != old.id
    view = new.view()
    assert view.replay_of == old.id
    assert (view.status, view.key, view.owner, view.priority) == ("queued", "1", "u", 5)
    assert view.input == old.view().input
    assert orders.enqueue({"number": "1"}).id == old.id
    assert worker.claim(new.id).step == "check"


def test_a_replay_from_a_step_reuses_the_outputs_before_it(
    orders: Orders, worker: Any, connection: Session, rung: Counter[str]
) -> None:
    """Q16: with another input too; a replay of a replay still names the run that did the work."""
    old = orders.enqueue({"number": "1"})
    worker.break_down(old.id)

    new = old.replay("price", input={"number": "1", "amount": 9})

    assert statuses(new) == {"check": "reused", "price": "pending"}
    view = new.view()
    assert view.input["amount"] == 9
    assert view.steps[0].attempts == []
    assert view.steps[1].input == {"input": view.input, "check": "fine"}
    one = worker.claim(new.id)
    assert (one.step, one.outputs) == ("price", {"check": b'"fine"'})
    third = new.replay("price")
    origins = connection.execute(
        "SELECT run_id, reused_from FROM taskplatform.step_results WHERE reused_from IS NOT NULL"
    ).fetchall()
    assert set(origins) == {(new.id, old.id), (third.id, old.id)}


def test_a_replay_says_what_is_missing(orders: Orders) -> None:
    """Q16."""
    run = orders.enqueue({"number": "1"})

    with pytest.raises(Conflict, match="no output of 'check', which comes before"):
        run.replay("price")
    with pytest.raises(InvalidInput, match="no step 'prize'; did you mean 'price'"):
        run.replay("prize")
    with pytest.raises(InvalidInput, match="amount"):
        run.replay(input={"number": "1", "amount": "many"})
    run.replay("check")
