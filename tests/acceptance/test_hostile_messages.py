"""F17, A16-A20, A28, A29, W12: what strangers put into Redis ends no worker and does nothing."""

import itertools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from kombu.connection import Connection
from redis import Redis

from taskplatform import app
from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.message import message
from taskplatform.storage.connection import connect
from taskplatform.verify.faults import hostile
from tests.acceptance.conftest import Ledger
from tests.acceptance.ledger import Order, single, three
from tests.acceptance.processes import Worker, wait_for, worker

Env = dict[str, str]
QUEUE = "taskplatform"
PLAIN = "tests.plain"
MANY = 10_000


@pytest.fixture
def redis(broker_url: str) -> Iterator[Redis]:
    """The stranger's own way to the broker."""
    with Redis.from_url(broker_url) as client:
        yield client


def push(redis: Redis, entries: Mapping[Any, bytes]) -> None:
    """Put them into the queue's list, the first to be taken first."""
    for entry in entries.values():
        redis.lpush(QUEUE, entry)


def wait_until_taken(redis: Redis, seconds: float = 60) -> None:
    """Until the queue is empty and no receipt is kept: nothing will be met again."""
    wait_for(
        lambda: not redis.llen(QUEUE) and not redis.hlen("unacked"), seconds, "messages are taken"
    )


def works_on(started: Worker, ledger: Ledger, id: str) -> None:
    """The same process takes a run, and it succeeds."""
    run = single.enqueue(Order(ledger=ledger.path, id=id))
    assert run.wait(timeout=30).status == "succeeded", started.log.read_text()
    assert started.process.poll() is None, started.log.read_text()
    assert ledger.count("start:only")[id] == 1


def check_log(started: Worker, lines: int) -> None:
    """Nothing of a message begins a line of its own, no line is long, and there are not many."""
    written = started.log.read_bytes()
    assert b"\x1b[31m" not in written
    printed = written.decode(errors="replace").splitlines()
    assert not [line for line in printed if line.startswith("ERROR forged")]
    assert max(map(len, printed)) < 2_000
    assert len(printed) < lines, written.decode(errors="replace")[-5_000:]
    assert "Traceback" not in written.decode(errors="replace"), written.decode()[-5_000:]


def test_hostile_messages_are_dropped_once_and_the_worker_goes_on(
    env: Env, ledger: Ledger, log: Path, redis: Redis
) -> None:
    """Each entry of the catalogue on the platform's queue, between honest ones."""
    redis_channel = redis.connection_pool.connection_kwargs["db"]
    entries = {
        **hostile.torn(QUEUE),
        **hostile.forged(QUEUE, PLAIN),
        **hostile.unknown(QUEUE),
        **hostile.shifts(QUEUE, PLAIN, str(ledger.path)),
    }
    with worker(env, log, "-c", "2") as started:
        works_on(started, ledger, "before")
        children = set(started.children())
        push(redis, entries)
        works_on(started, ledger, "between")
        for entry in hostile.broadcasts().values():
            redis.publish(f"/{redis_channel}.celery.pidbox", entry)
            redis.publish(f"/{redis_channel}.celeryev/worker.heartbeat", entry)
        wait_until_taken(redis)
        works_on(started, ledger, "after")
        assert asked(env, "scheduled") == [], "an ETA was waited for"
        assert asked(env, "stats")["messages_dropped"] > len(hostile.torn(QUEUE))
        assert set(started.children()) == children, "a child was lost"
    assert not ledger.has("start:plain"), "a message made the worker execute a task"
    check_log(started, 300)


def asked(env: Env, what: str) -> Any:
    """What the only worker answers to Celery's own control."""
    with Connection(env["TASKPLATFORM_BROKER_URL"]) as connection:  # type: ignore[no-untyped-call]
        inspect = app.control.inspect(connection=connection, timeout=20, limit=1)
        (answer,) = getattr(inspect, what)().values()
    return answer


def test_a_message_for_a_run_that_is_not_its_own_touches_none(
    env: Env, ledger: Ledger, log: Path, redis: Redis, database_url: str
) -> None:
    """A19, W11: of another pipeline, not due, finished, or no run at all."""
    later = three.enqueue(Order(ledger=ledger.path, id="later"), delay="1h")
    with worker(env, log, "-c", "2") as started:
        done = single.enqueue(Order(ledger=ledger.path, id="before"))
        assert done.wait(timeout=30).status == "succeeded"
        trap = (PLAIN, str(ledger.path))
        push(redis, hostile.steps(QUEUE, "single.only", *trap, another=str(later.id)))
        push(redis, hostile.steps(QUEUE, "three.second", *trap, another=str(done.id)))
        late = hostile.canvas(QUEUE, "single.only", str(done.id))
        early = hostile.canvas(QUEUE, "three.first", str(later.id))
        real = message(SHIFT_TASK, QUEUE)
        push(redis, dict(enumerate([late, early, real] * 5)))
        wait_until_taken(redis)
        works_on(started, ledger, "after")
        assert later.view().status == "scheduled"
        with connect(database_url) as database:
            (kept,) = (
                database.execute("SELECT count(*) FROM taskplatform.canvases").fetchone() or ()
            )
    assert kept == 0, "what a message says follows somebody else's run was stored"
    assert not ledger.has("start:plain")
    assert ledger.count("start:only") == {"before": 1, "after": 1}
    assert not ledger.has("start:first")
    check_log(started, 200)


def test_control_commands_do_a_shift_no_harm(env: Env, ledger: Ledger, log: Path) -> None:
    """G5: a limit, or the end of a shift's child, would hit whatever runs it works on."""
    with (
        worker(env, log, "-c", "1") as started,
        Connection(env["TASKPLATFORM_BROKER_URL"]) as connection,  # type: ignore[no-untyped-call]
    ):
        control = {"connection": connection, "reply": True, "timeout": 20, "limit": 1}
        app.control.rate_limit(SHIFT_TASK, "1/h", **control)
        app.control.time_limit(SHIFT_TASK, soft=0.1, hard=0.2, **control)
        works_on(started, ledger, "first")
        run = single.enqueue(Order(ledger=ledger.path, id="long", seconds=3))
        wait_for(lambda: ledger.has("start:only", "long"), 20, "the body started")
        children = started.children()
        shifts = [one["id"] for one in asked(env, "active") if one["type"] == SHIFT_TASK]
        assert shifts
        app.control.revoke(shifts, terminate=True, signal="SIGKILL", **control)
        assert run.wait(timeout=30).status == "succeeded"
        assert ledger.count("start:only")["long"] == 1
        assert started.children() == children
        works_on(started, ledger, "last")


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools_survive_them_too(
    env: Env, ledger: Ledger, log: Path, redis: Redis, pool: str
) -> None:
    """Pools without an event loop read messages in another way."""
    with worker(env, log, "-c", "2", "-P", pool) as started:
        works_on(started, ledger, "before")
        push(redis, hostile.torn(QUEUE) | hostile.forged(QUEUE, PLAIN) | hostile.unknown(QUEUE))
        works_on(started, ledger, "after")
        wait_until_taken(redis)
    assert not ledger.has("start:plain")


def test_ten_thousand_of_them_cost_no_memory_and_no_log(
    env: Env, ledger: Ledger, log: Path, redis: Redis
) -> None:
    """The parent keeps no more than three of the largest take, however many come; runs end."""
    small = [
        entry
        for entry in [*hostile.torn(QUEUE).values(), *hostile.forged(QUEUE, PLAIN).values()]
        if len(entry) < 10_000
    ]
    big = [entry for entry in hostile.junk(QUEUE).values() if len(entry) > 5_000_000]
    with worker(env, log, "-c", "2") as started:
        works_on(started, ledger, "before")
        push(redis, hostile.torn(QUEUE))
        wait_until_taken(redis)
        before = psutil.Process(started.pid).memory_info().rss
        for batch in _batches(small):
            redis.lpush(QUEUE, *batch)
        for entry in itertools.islice(itertools.cycle(big), 15):
            redis.lpush(QUEUE, entry)
        began = time.monotonic()
        works_on(started, ledger, "meanwhile")
        wait_until_taken(redis, 120)
        took = time.monotonic() - began
        works_on(started, ledger, "after")
        grown = psutil.Process(started.pid).memory_info().rss - before
    most = 20 * 1024 * 1024 + 3 * max(map(len, big))
    assert grown < most, f"{grown:,} bytes more after {took:.1f} s, at most {most:,}"
    check_log(started, 200)
    print(f"{MANY} dropped in {took:.1f} s, {grown:,} bytes more")


def _batches(entries: list[bytes], size: int = 500) -> Iterator[list[bytes]]:
    endless = itertools.cycle(entries)
    for _ in range(MANY // size):
        yield list(itertools.islice(endless, size))
