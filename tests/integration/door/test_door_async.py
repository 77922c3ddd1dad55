"""The async forms of the client do what the blocking ones do, and leave the event loop free."""

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest

from taskplatform.client import ringer
from taskplatform.client.pipeline import Pipeline
from taskplatform.client.reading import get_run
from taskplatform.client.run import Run
from taskplatform.errors import InvalidInput, RunNotFound, WaitTimeout

Orders = Pipeline[Any]


def test_aenqueue_stores_and_rings(orders: Orders, rung: Counter[str]) -> None:
    """Durable when it returns."""
    run = asyncio.run(orders.aenqueue({"number": "1"}, priority=3))

    assert get_run(run.id).status == "queued"
    assert ringer.RINGER.flush()
    assert rung == {"taskplatform": 1}
    with pytest.raises(InvalidInput):
        asyncio.run(orders.aenqueue({}))


def test_await_returns_at_the_end_and_keeps_no_thread(orders: Orders, worker: Any) -> None:
    """A hundred wait at once, on the few threads of the event loop."""

    async def wait_for_all() -> list[Run[Any]]:
        runs = [await orders.aenqueue({"number": str(number)}) for number in range(100)]
        before = threading.active_count()
        waiting = [asyncio.create_task(run.await_(60)) for run in runs]
        await asyncio.sleep(0.2)
        assert threading.active_count() < before + 40
        assert not any(task.done() for task in waiting)
        for run in runs:
            await asyncio.to_thread(worker.succeed, run.id)
        return list(await asyncio.gather(*waiting))

    runs = asyncio.run(wait_for_all())
    assert {run.status for run in runs} == {"succeeded"}
    assert runs[0].output.total == 7


def test_await_times_out_and_the_run_goes_on(orders: Orders) -> None:
    """As wait does."""
    run = orders.enqueue({"number": "1"})
    began = time.monotonic()

    with pytest.raises(WaitTimeout, match="queued"):
        asyncio.run(run.await_(0.05))

    assert time.monotonic() < began + 5
    assert run.refresh().status == "queued"


def test_the_event_loop_is_free_while_a_run_is_awaited(orders: Orders, worker: Any) -> None:
    """Other tasks go on in the meantime."""
    run = orders.enqueue({"number": "1"})
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(time.monotonic())
            await asyncio.sleep(0.005)

    async def wait() -> None:
        heart = asyncio.create_task(beat())
        waiting = asyncio.create_task(run.await_(30))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(worker.succeed, run.id)
        await waiting
        heart.cancel()

    asyncio.run(wait())
    assert len(beats) > 5


def test_awaiting_a_run_that_is_gone_says_so(orders: Orders, connection: Any) -> None:
    """As wait does."""
    run = orders.enqueue({"number": "1"})
    connection.execute("DELETE FROM taskplatform.runs")

    with pytest.raises(RunNotFound):
        asyncio.run(run.await_(5))
