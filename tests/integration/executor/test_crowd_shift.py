"""The one shift of a process with many seats: when it claims, and when it ends."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from taskplatform.celery.address import Address
from taskplatform.celery.bell import Bell
from taskplatform.celery.crowd_shift import CrowdShift
from taskplatform.core.pipeline import Declaration
from tests.integration.executor.crew import Crew
from tests.integration.executor.house import Count, House, Number


@pytest.fixture
def made(house: House) -> Iterator[Crew]:
    """A process of twenty seats."""
    with closing(Crew(house, 20)) as crew:
        yield crew


@pytest.fixture
def bell(broker_url: str) -> Iterator[Bell]:
    """A bell that nobody rings."""
    with closing(Bell(Address(broker_url))) as bell:
        yield bell


def shift(made: Crew, bell: Bell, *, others: int = 0, linger: float = 0.2) -> CrowdShift:
    return CrowdShift(made.desk, ["default"], bell, linger, lambda: others)


def waiting_pipeline(count: Count, seconds: float) -> Declaration[Number]:
    """One async step that counts how many are in it."""
    pipeline = Declaration("p", input=Number)
    now = [0]

    @pipeline.step
    async def a(input: Number) -> int:
        now[0] += 1
        count(("at once", now[0]))
        await asyncio.sleep(seconds)
        now[0] -= 1
        return 1

    return pipeline


@pytest.mark.parametrize(("others", "most"), [(0, 20), (13, 7), (20, 1), (500, 1)])
def test_what_else_the_worker_executes_takes_places(
    house: House, made: Crew, bell: Bell, count: Count, others: int, most: int
) -> None:
    """Q18: bodies and plain tasks together are no more than -c, and runs always have one."""
    runs = house.enqueue(waiting_pipeline(count, 0.02), 3 * most)
    shift(made, bell, others=others).work()

    assert max(n for _, n in count.times) == most
    assert {house.status(run) for run in runs} == {"succeeded"}


def test_a_message_without_a_thread_ends_the_shift_at_the_step_boundary(
    house: House, made: Crew, bell: Bell, count: Count
) -> None:
    """The user's own tasks do not starve: what is in hand ends, and nothing more is claimed."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    async def a(input: Number) -> int:
        if count("a") == 20:
            house.table.messages_wait = True
        while not house.table.messages_wait:
            await asyncio.sleep(0.001)
        return 1

    @pipeline.step
    def b(a: int) -> int:
        return count("b")

    runs = house.enqueue(pipeline, 50)
    shift(made, bell).work()

    assert count.times == {"a": 20}
    assert {house.status(run) for run in runs} == {"queued"}
    assert sum(len(house.stage.results(run)) for run in runs) == 20
    assert not house.stage.wrong()


def test_work_that_comes_while_bodies_last_is_taken(
    house: House, made: Crew, bell: Bell, count: Count
) -> None:
    """Design: a short run does not wait behind a long one, and a shift has no end meanwhile."""
    pipeline = Declaration("p", input=Number)
    go, started = threading.Event(), threading.Event()

    @pipeline.step
    async def a(input: Number) -> int:
        if input.n == 0:
            started.set()
            while not go.is_set():
                await asyncio.sleep(0.01)
        return count(input.n)

    (long,) = house.enqueue(pipeline)
    thread = threading.Thread(target=shift(made, bell).work)
    thread.start()
    assert started.wait(10)
    time.sleep(0.5)  # longer than it lingers
    late = house.enqueue(pipeline, 5, first=1)
    until = time.monotonic() + 10
    while {house.status(run) for run in late} != {"succeeded"}:
        assert time.monotonic() < until
    go.set()
    thread.join(20)

    assert not thread.is_alive()
    assert house.status(long) == "succeeded"
    assert made.desk.taken == 0


def test_the_shift_outlives_an_outage_while_bodies_are_in_hand(
    house: House, made: Crew, bell: Bell, count: Count
) -> None:
    """F-outage: both connections break again and again; each body is executed once."""
    pipeline = waiting_pipeline(count, 0.05)
    runs = house.enqueue(pipeline, 200)
    thread = threading.Thread(target=shift(made, bell).work)
    thread.start()
    for _ in range(5):
        time.sleep(0.1)
        with house.stage.session() as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'taskplatform w' AND datname = current_database()"
            )
    thread.join(30)
    if not all(house.status(run) == "succeeded" for run in runs):
        shift(made, bell).work()

    assert {house.status(run) for run in runs} == {"succeeded"}
    assert sum(count.times.values()) == 200
    assert not house.stage.wrong()
