"""A run that no worker has started in time fails, by the same door as every other end."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from taskplatform.core.event import Event
from taskplatform.core.handlers import on
from taskplatform.core.ids import uuid7
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.errors import RetryAfter
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.retry import Next, retry
from taskplatform.supervisor.unstarted import Unstarted
from tests.integration.executor.house import Count, House, Number

ERROR = "SELECT error ->> 'type', error ->> 'message' FROM taskplatform.runs WHERE id = %s"


@pytest.fixture
def supervisor() -> Unstarted:
    """What the supervisor of any worker does."""
    return Unstarted(uuid7(), 1, "supervisor", "default")


def late(house: House, pipeline: Declaration[Number], key: str | None = None) -> UUID:
    """A run that should have been started a while ago."""
    row = NewRun(
        id=uuid7(),
        pipeline=pipeline.name,
        first_step=pipeline.steps[0].name,
        queue="nobody",
        input=b'{"n": 0}',
        key=key,
        queue_timeout=30.0,
    )
    (made,) = enqueue(house.stage.connection, [row])
    pass_a_minute(house)
    return made.id


def pass_a_minute(house: House) -> None:
    house.stage.connection.execute(
        "UPDATE taskplatform.runs SET start_by = start_by - interval '1 minute'"
    )


def one_step(count: Count) -> Declaration[Number]:
    pipeline = Declaration(
        "p", input=Number, queue_timeout="30s", idempotency="1h", retry=Retry(delays=["1h"])
    )

    @pipeline.step
    def a(input: Number) -> int:
        if count("a") == 1 and input.n:
            raise RetryAfter(60)
        return 1

    return pipeline


def test_a_run_that_nobody_starts_fails_and_says_so(
    house: House, count: Count, supervisor: Unstarted
) -> None:
    """W15: also one on a queue that no worker serves."""
    run = late(house, one_step(count))

    supervisor.end(house.stage.connection)

    assert house.status(run) == "failed"
    assert house.stage.rows(ERROR, run) == [
        ("QueueTimeout", "no worker started the run within 30 s of its being ready")
    ]
    assert house.stage.value("SELECT started_at FROM taskplatform.runs") is None
    assert house.stage.value("SELECT count(*) FROM taskplatform.holders") == 0
    assert count.times == {}
    assert not house.stage.wrong()


def test_its_key_covers_it_like_another_failed_one(
    house: House, count: Count, supervisor: Unstarted
) -> None:
    run = late(house, one_step(count), key="k")

    supervisor.end(house.stage.connection)

    kept = "SELECT run_id, expires_at > clock_timestamp() + interval '59 minutes' FROM {}"
    assert house.stage.rows(kept.format("taskplatform.keys")) == [(run, True)]
    assert not house.stage.wrong()


def test_a_run_in_time_is_left_alone(house: House, count: Count, supervisor: Unstarted) -> None:
    pipeline = one_step(count)
    (run,) = house.enqueue(pipeline)
    house.stage.connection.execute(
        "UPDATE taskplatform.runs SET start_by = clock_timestamp() + interval '1 minute'"
    )

    supervisor.end(house.stage.connection)

    assert house.status(run) == "queued"
    house.work(house.child())
    assert house.status(run) == "succeeded"


def test_a_run_that_was_started_is_not_late(
    house: House, count: Count, supervisor: Unstarted
) -> None:
    """Its first attempt asked to come back later, and then nobody had time for it."""
    pipeline = one_step(count)
    house.enqueue(pipeline)
    (_, run) = house.enqueue(pipeline, 2)
    house.stage.connection.execute(
        "UPDATE taskplatform.runs SET start_by = clock_timestamp() - interval '1 minute'"
    )
    child = house.child()
    claimed, _ = child.claim(["default"])
    child.remember(claimed)

    supervisor.end(house.stage.connection)

    # Held by a worker that is about to start it.
    statuses = house.stage.rows("SELECT status, count(*) FROM taskplatform.runs GROUP BY 1")
    assert sorted(statuses) == [("failed", 2), ("running", 1)]
    assert house.status(run) == "failed"


def test_a_run_that_waits_for_its_throttle_has_not_started(
    house: House, count: Count, supervisor: Unstarted
) -> None:
    run = late(house, one_step(count))
    house.stage.connection.execute(
        "UPDATE taskplatform.work SET due_at = clock_timestamp() + interval '1h',"
        " reason = 'throttle'"
    )
    house.stage.connection.execute(
        "UPDATE taskplatform.runs SET status = 'waiting', reason = 'throttle',"
        " due_at = clock_timestamp() + interval '1h'"
    )

    supervisor.end(house.stage.connection)

    assert house.status(run) == "failed"
    assert not house.stage.wrong()


def test_a_run_that_rests_first_was_started(
    house: House, count: Count, supervisor: Unstarted
) -> None:
    """A worker took it and found that its first stage is a sleep; it is looked at once only."""
    pipeline = Declaration("p", input=Number, queue_timeout="30s")
    pipeline.sleep("nap", "1h")

    @pipeline.step
    def a(input: Number) -> int:
        return 1

    (run,) = house.enqueue(pipeline)
    house.work(house.child())
    house.stage.connection.execute(
        "UPDATE taskplatform.runs"
        " SET start_by = clock_timestamp() - interval '1 minute', started_at = NULL"
    )

    supervisor.end(house.stage.connection)

    assert house.status(run) == "waiting"
    assert house.stage.value("SELECT start_by FROM taskplatform.runs") is None
    assert not house.stage.wrong()


def test_of_two_supervisors_one_ends_it(house: House, count: Count) -> None:
    """All of them look once a second."""
    run = late(house, one_step(count))
    both = [(Unstarted(uuid7(), 1, name, "default"), house.stage.session()) for name in "ab"]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda one: one[0].end(one[1]), both)) == [{}, {}]

    assert house.status(run) == "failed"
    assert house.stage.value("SELECT version FROM taskplatform.runs WHERE id = %s", run) == 2


def test_its_event_handler_hears_of_it(house: House, count: Count, supervisor: Unstarted) -> None:
    pipeline = one_step(count)

    @on("p/task.failed")
    def tell(event: Event) -> None:
        count(event.data["result"]["type"])

    late(house, pipeline)
    rung = supervisor.end(house.stage.connection)
    house.work(house.child())

    assert rung == {"default": 1}
    assert count.times == {"QueueTimeout": 1}


def test_a_retry_by_hand_grants_the_time_anew(
    house: House, count: Count, supervisor: Unstarted
) -> None:
    """Otherwise it would fail again before anybody could take it."""
    run = late(house, one_step(count))
    supervisor.end(house.stage.connection)

    retry(house.stage.connection, run, lambda *_: Next("a", "default", None, 30.0))
    supervisor.end(house.stage.connection)

    assert house.status(run) == "queued"
    house.work(house.child())
    assert house.status(run) == "succeeded"
    assert not house.stage.wrong()
