"""G6: due work is released exactly once, never early, and the run says so."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from taskplatform.storage.cancel import cancel
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import BATCH, outlook, release_due
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.settle import settle
from tests.integration.races.stage import Stage, fail, wait, wait_until

HISTORY = """
CREATE TABLE released (run_id uuid, at timestamptz, due_at timestamptz);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO released VALUES (NEW.run_id, clock_timestamp(), OLD.due_at);
    RETURN NEW;
END $$;
CREATE TRIGGER note AFTER UPDATE ON taskplatform.work FOR EACH ROW
WHEN (OLD.due_at IS NOT NULL AND NEW.due_at IS NULL) EXECUTE FUNCTION note();
"""


def make_due(stage: Stage) -> None:
    """Let the time pass that all waiting work waits for."""
    for table in ("work", "runs"):
        stage.connection.execute(
            f"UPDATE taskplatform.{table} SET due_at = clock_timestamp() WHERE due_at < 'infinity'"
        )


def test_two_dispatchers_release_due_work_once(stage: Stage) -> None:
    """F5, G6: more than two batches of it, four dispatchers at once."""
    stage.connection.execute(HISTORY)
    runs = stage.runs(2 * BATCH + 50, delay=60)
    make_due(stage)
    start = threading.Barrier(4)

    def dispatch(session: Session) -> int:
        released = 0
        start.wait()
        while batch := release_due(session):
            released += sum(batch.values())
        return released

    with ThreadPoolExecutor(4) as pool:
        by_dispatcher = list(pool.map(dispatch, [stage.session() for _ in range(4)]))
    # What a dispatcher passed over as busy is another one's, or the next round's.
    by_dispatcher.append(sum(release_due(stage.connection).values()))

    assert sum(by_dispatcher) == len(runs)
    assert Counter(run for (run,) in stage.rows("SELECT run_id FROM released")) == Counter(runs)
    assert set(map(stage.status, runs)) == {"queued"}
    assert not stage.wrong()


def test_work_is_never_released_early(stage: Stage) -> None:
    """G6: by the database clock, however often one asks; and the outlook says when to."""
    stage.connection.execute(HISTORY)
    (run,) = stage.runs(1, delay=0.3)
    assert release_due(stage.connection) == {}
    assert stage.status(run) == "scheduled"
    seen = outlook(stage.connection, ["q"], ["p"])
    assert seen.ready == []
    assert seen.next_due is not None
    assert 0 < seen.next_due <= 0.3

    assert wait_until(lambda: release_due(stage.connection)) == {"q": 1}

    assert stage.value("SELECT at >= due_at FROM released") is True
    assert stage.value("SELECT extract(epoch FROM at - due_at) FROM released") < 1
    assert stage.rows("SELECT status, reason, due_at, waiting_for FROM taskplatform.runs") == [
        ("queued", None, None, None)
    ]
    assert outlook(stage.connection, ["q"], ["p"]).ready == ["q"]


def test_parked_work_is_never_released(stage: Stage) -> None:
    """G5: it waits for a person, and the outlook does not wait for it."""
    (run,) = stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [wait(one, float("inf"), "parked")], worker="w")
    make_due(stage)

    assert release_due(stage.connection) == {}
    assert outlook(stage.connection, ["q"], ["p"]).next_due is None
    assert stage.status(run) == "waiting"


def test_a_busy_run_is_left_to_the_next_round(stage: Stage) -> None:
    """Dispatch waits for nobody who holds a run, and does the others meanwhile."""
    busy, _ = stage.runs(2, delay=60)
    make_due(stage)
    other = stage.session()
    with other.transaction():
        other.execute("SELECT FROM taskplatform.runs WHERE id = %s FOR UPDATE", (busy,))
        assert release_due(stage.connection) == {"q": 1}

    assert release_due(stage.connection) == {"q": 1}
    assert not stage.wrong()


def test_dispatch_beside_a_cancel(stage: Stage) -> None:
    """G10: in both orders nothing of the run is left to claim."""
    first, second = stage.runs(2, delay=60)
    make_due(stage)
    other = stage.racer()
    with stage.connection.transaction():
        assert cancel(stage.connection, first)
        assert other.start(release_due).result(10) == {"q": 1}
    with stage.connection.transaction():
        # Not due any more: the cancel's own locks are waited for in the other order.
        stage.connection.execute(
            "SELECT FROM taskplatform.work WHERE run_id = %s FOR UPDATE", (second,)
        )
        cancelled = other.start(cancel, second)
        assert other.blocked()

    assert cancelled.result(10) is True
    assert [stage.status(run) for run in (first, second)] == ["cancelled", "cancelled"]
    assert stage.take() == []
    assert not stage.wrong()


def test_dispatch_that_waited_for_the_work_looks_again(stage: Stage) -> None:
    """G6: put off once more in the meantime: its snapshot is older than its lock wait. [X]"""
    stage.runs(1, delay=60)
    make_due(stage)
    dispatcher = stage.racer()
    with stage.connection.transaction():
        stage.connection.execute(
            "UPDATE taskplatform.work SET due_at = clock_timestamp() + interval '1 minute'"
        )
        released = dispatcher.start(release_due)
        assert dispatcher.blocked()

    assert released.result(10) == {}
    assert stage.value("SELECT due_at > clock_timestamp() FROM taskplatform.work")


def test_twenty_retries_at_once_take_a_run_up_once(stage: Stage) -> None:
    """F41: the others see it queued."""
    (run,) = stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [fail(one)], worker="w")
    start = threading.Barrier(20)

    def again(session: Session) -> bool:
        start.wait()
        return retry(session, run, lambda _pipeline, _done: Next("a", "q")).taken_up

    with ThreadPoolExecutor(20) as pool:
        taken_up = list(pool.map(again, [stage.session() for _ in range(20)]))

    assert sum(taken_up) == 1
    assert len(stage.take()) == 1
    assert not stage.wrong()


def test_a_retry_beside_a_dispatch_queues_once(stage: Stage) -> None:
    """F41, G6: a run that waits for a retry is released by one of them."""
    (run,) = stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [wait(one, 60)], worker="w")
    make_due(stage)
    person = stage.racer()
    with stage.connection.transaction():
        assert release_due(stage.connection) == {"q": 1}
        retried = person.start(retry, run, lambda _pipeline, _done: Next("a", "q"))
        assert person.blocked()

    assert retried.result(10).taken_up is False
    assert len(stage.take()) == 1
    assert not stage.wrong()
