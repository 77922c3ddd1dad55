"""Why a run is where it is, as the door tells it."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from taskplatform.client.pausing import pause
from taskplatform.client.pipeline import Pipeline
from taskplatform.client.run import Run
from taskplatform.client.view import WaitView
from taskplatform.storage import paused, workers
from taskplatform.storage.connection import Session
from taskplatform.storage.settlement import Keep, PutBack
from tests.integration.door.conftest import Order, Worker


def _one(run: Run) -> WaitView:
    (found,) = run.view().waits
    return found


def _report(connection: Session, *pipelines: str, per_second: float = 0.0) -> None:
    workers.report(
        connection,
        id=uuid4(),
        name="other",
        host="here",
        pid=2,
        pool="prefork",
        concurrency=3,
        queues=["taskplatform"],
        pipelines=pipelines,
        claims_per_second=per_second,
    )


def test_ready_work_that_nobody_can_execute_says_so(
    orders: Pipeline[Order], connection: Session
) -> None:
    """G5: nobody serves the queue; or somebody does, who does not know the pipeline."""
    run = orders.enqueue(Order(number="1"))
    wait = _one(run)
    assert (wait.step, wait.state, wait.starts_at) == ("check", "ready", None)
    assert "no worker serves queue taskplatform" in wait.why

    _report(connection, "others")
    wait = _one(run)
    assert "none of the 1 worker(s) of queue taskplatform knows pipeline orders" in wait.why
    assert wait.starts_at is None


def test_place_and_projected_start_follow_from_the_line_and_the_drain(
    orders: Pipeline[Order], connection: Session, worker: Worker
) -> None:
    """Q13: who is of a higher priority comes first; the start is projected by what was claimed."""
    _report(connection, "orders", per_second=2.0)
    for number in "1234":
        worker.claim(orders.enqueue(Order(number=number)).id)
    runs = [orders.enqueue(Order(number=f"line {n}")) for n in range(20)]
    first = orders.enqueue(Order(number="urgent", weight=300))

    assert [_one(runs[n]).before for n in (0, 19)] == [1, 20]
    wait = _one(runs[-1])
    assert "20 come before it" in wait.why
    assert wait.starts_at is not None
    assert timedelta(seconds=8) < wait.starts_at - datetime.now(UTC) < timedelta(seconds=12)
    assert "it is the next in queue" in _one(first).why
    assert _one(first).before == 0


def test_a_free_place_means_at_once(orders: Pipeline[Order], worker: Worker) -> None:
    run = orders.enqueue(Order(number="1"))
    wait = _one(run)
    assert "0 of 1 places" in wait.why
    assert wait.starts_at is not None
    assert abs(wait.starts_at - datetime.now(UTC)) < timedelta(seconds=2)

    worker.claim(run.id)
    wait = _one(run)
    assert (wait.state, wait.worker, wait.before) == ("executing", "tester", None)


def test_what_waits_says_for_what_and_until_when(orders: Pipeline[Order], worker: Worker) -> None:
    """M11: the last error is named where a retry is waited for."""
    run = orders.enqueue(Order(number="1"))
    worker.put_back(run.id, "retry", 300.0)
    wait = _one(run)
    assert (wait.state, wait.reason) == ("waiting", "retry")
    assert "attempt 1 failed: ValueError: no good" in wait.why
    assert wait.due_at is not None

    later = orders.enqueue(Order(number="2"), delay="1h")
    assert "enqueued for later" in _one(later).why
    assert _one(later).due_at is not None

    run.cancel()
    assert run.view().waits == []


def test_a_parked_run_and_a_paused_one(
    orders: Pipeline[Order], worker: Worker, connection: Session
) -> None:
    parked = orders.enqueue(Order(number="1"))
    one = worker.claim(parked.id)
    worker.commit(one, "check", b'"fine"', Keep("price", mark=True))
    then = PutBack("price", "taskplatform", float("inf"), "parked", waiting_for="3 crashes")
    worker.fail(one, "price", then)
    wait = _one(parked)
    assert "parked and needs a person: 3 crashes" in wait.why
    assert wait.due_at is None

    paused = orders.enqueue(Order(number="2"))
    pause("orders", "the API is down")
    assert "its pipeline is paused: the API is down" in _one(paused).why


def test_a_pause_of_more_than_a_pipeline_is_named(
    orders: Pipeline[Order], worker: Worker, connection: Session
) -> None:
    """W13: ready work of a paused queue, owner or key is not touched, but says so."""
    assert worker.connection
    run = orders.enqueue(Order(number="1", user="ada"))
    for kind, name, pipeline in (
        ("queue", "taskplatform", ""),
        ("owner", "ada", ""),
        ("key", "1", "orders"),
    ):
        paused.pause(connection, kind, name, "on holiday", pipeline=pipeline)
        wait = _one(run)
        assert f"its {kind} {name} is paused: on holiday" in wait.why
        assert wait.starts_at is None
        paused.resume(connection, kind, name, pipeline=pipeline)
    assert "is paused" not in _one(run).why
