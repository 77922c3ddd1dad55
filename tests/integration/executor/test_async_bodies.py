"""Async bodies: one event loop a process, ended like the others when their time is over."""

import asyncio
import contextvars
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.errors import RetryAfter
from taskplatform.executor.child import Child
from taskplatform.executor.instruments import Silent
from taskplatform.executor.loop import running_loop
from tests.integration.executor.house import Count, House, Number


class Bound:
    """Usable on the loop that it was made on, like an HTTP client or a connection pool."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._wakes = self.loop.create_future()

    async def use(self) -> int:
        assert asyncio.get_running_loop() is self.loop
        self.loop.call_soon(self._wakes.set_result, 1)
        answer: int = await self._wakes
        self._wakes = self.loop.create_future()
        return answer


def test_what_is_bound_to_the_loop_is_usable_in_the_next_step_and_run(house: House) -> None:
    """One loop lives from attempt to attempt: asyncio.run() would close it behind each."""
    pipeline = Declaration("p", input=Number)
    made: list[Bound] = []

    async def use() -> int:
        if not made:
            made.append(Bound())
        return await made[0].use()

    @pipeline.step
    async def a(input: Number) -> int:
        return await use()

    @pipeline.step
    async def b(a: int) -> int:
        return a + await use()

    runs = house.enqueue(pipeline, 2)
    house.work(house.child())

    assert [house.stage.results(run) for run in runs] == [{"a": b"1", "b": b"2"}] * 2


def test_bodies_of_several_threads_are_on_the_loop_at_once(house: House) -> None:
    """Each waits until all are there."""
    pipeline = Declaration("p", input=Number)
    here: list[int] = []
    everybody = threading.Event()

    @pipeline.step
    async def a(input: Number) -> int:
        here.append(input.n)
        while len(here) < 8:
            await asyncio.sleep(0.01)
        everybody.set()
        return input.n

    runs = house.enqueue(pipeline, 8)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(lambda: house.shift(house.child())) for _ in range(8)]:
            assert done.result(30) == 1

    assert everybody.is_set()
    assert {house.status(run) for run in runs} == {"succeeded"}


def test_a_wrapper_that_answers_with_a_coroutine_is_an_async_step(house: House) -> None:
    """A decorator need not be async itself."""
    pipeline = Declaration("p", input=Number)

    async def body(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    @pipeline.step
    def a(input: Number) -> int:
        return body(input.n)  # type: ignore[return-value]

    (run,) = house.enqueue(pipeline)
    house.work(house.child())

    assert house.stage.results(run) == {"a": b"1"}


def test_an_async_body_is_cancelled_when_its_time_is_over(house: House, count: Count) -> None:
    """W15: its `finally` runs, and the attempt is timed-out with the place where it waited."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))

    @pipeline.step(timeout="200ms")
    async def a(input: Number) -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            count("cancelled")
            raise
        finally:
            await asyncio.sleep(0.01)
            count("cleaned")
        return 1

    runs = house.enqueue(pipeline, 2)
    house.shift(house.child())
    house.elsewhere(lambda: house.shift(house.child()))

    assert count.times == {"cancelled": 2, "cleaned": 2}
    for run in runs:
        assert house.stage.attempts(run) == [("a", 1, "timed-out")]
    error = house.stage.value("SELECT error::text FROM taskplatform.step_attempts LIMIT 1")
    assert "timeout of 0.2 s" in error
    assert "await asyncio.sleep(60)" in error


def test_a_body_that_ignores_its_cancellation_is_left_behind_by_a_thread(
    house: House, count: Count
) -> None:
    """A thread cannot be killed: its attempt ends all the same, and what it returns is nothing."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))
    go = asyncio.Event()

    @pipeline.step(timeout="100ms")
    async def a(input: Number) -> int:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                count("ignored")
        count("ended")
        return 1

    (run,) = house.enqueue(pipeline)
    house.elsewhere(lambda: house.shift(house.child()))

    assert count.times == {"ignored": 1}
    assert house.stage.attempts(run) == [("a", 1, "timed-out")]
    running_loop().call_soon_threadsafe(go.set)
    house.stage.value("SELECT 1")
    assert house.stage.results(run) == {}


def test_a_body_that_blocks_the_loop_does_not_hold_its_thread_for_ever(house: House) -> None:
    """Nothing on a blocked loop can be cancelled; the pool's thread has a limit of its own."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))
    go = threading.Event()

    @pipeline.step(timeout="50ms")
    async def a(input: Number) -> int:
        go.wait(30)
        return 1

    (run,) = house.enqueue(pipeline)
    house.elsewhere(lambda: house.shift(house.child()))
    go.set()

    assert house.stage.attempts(run) == [("a", 1, "timed-out")]


def test_an_async_body_is_interrupted_at_the_end_of_the_grace(house: House, count: Count) -> None:
    """F11: recorded as interrupted, and given back."""
    pipeline = Declaration("p", input=Number)
    child = house.child()

    @pipeline.step
    async def a(input: Number) -> int:
        child.slot.interrupt = True
        try:
            await asyncio.sleep(60)
        finally:
            count("cleaned")
        return 1

    (run,) = house.enqueue(pipeline)
    house.shift(child)

    assert count.times == {"cleaned": 1}
    assert house.stage.attempts(run) == [("a", 1, "interrupted")]
    assert house.status(run) == "queued"


def test_an_async_body_of_a_cancelled_run_is_cancelled(house: House, count: Count) -> None:
    """Nobody wants its result: it need not ask ctx.cancelled."""
    pipeline = Declaration("p", input=Number)
    child = house.child()

    @pipeline.step
    async def a(ctx: Context) -> int:
        child.slot.cancelled = True
        try:
            await asyncio.sleep(60)
        finally:
            count("cancelled" if ctx.cancelled else "not told")
        return 1

    house.enqueue(pipeline)
    house.shift(child)

    assert count.times == {"cancelled": 1}


def test_what_an_async_body_raises_says_what_happens(house: House) -> None:
    """RetryAfter, an error, and even sys.exit(), which ends the body and not the loop."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))

    @pipeline.step
    async def a(input: Number) -> int:
        await asyncio.sleep(0)
        if input.n == 0:
            raise RetryAfter(60)
        if input.n == 1:
            sys.exit(3)
        return 1

    runs = house.enqueue(pipeline, 3)
    house.work(house.child())

    assert [house.status(run) for run in runs] == ["waiting", "failed", "succeeded"]
    error = house.stage.value(
        "SELECT error ->> 'type' FROM taskplatform.runs WHERE id = %s", runs[1]
    )
    assert error == "SystemExit"


class Watching(Silent):
    """Keeps its current step per thread, like Celery."""

    def __init__(self) -> None:
        self.local = threading.local()

    def started(self, step: object, run_id: object, number: int, label: str) -> str:
        return str(run_id)

    def entered(self, token: str) -> None:
        assert not self.current()
        self.local.now = token

    def left(self, token: str) -> None:
        assert self.current() == token
        self.local.now = None

    def current(self) -> str | None:
        return getattr(self.local, "now", None)


def test_each_of_many_bodies_sees_its_own_step_as_the_current_one(house: House) -> None:
    """They share the thread of the loop, and take turns on it at every await."""
    pipeline = Declaration("p", input=Number)
    watching = Watching()
    seen: set[bool] = set()

    @pipeline.step
    async def a(ctx: Context) -> int:
        for _ in range(20):
            seen.add(watching.current() == str(ctx.run_id))
            await asyncio.sleep(0.001)
        return 1

    def shift() -> Child:
        child = house.child()
        child.instrument = watching
        house.shift(child)
        return child

    house.enqueue(pipeline, 6)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: shift(), range(6)))

    assert seen == {True}


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


def test_an_async_body_sees_the_context_variables_of_its_attempt(house: House) -> None:
    """What a signal handler puts there around a step, as OpenTelemetry does with its span."""
    pipeline = Declaration("p", input=Number)
    child = house.child()

    class Around(Silent):
        def started(self, step: object, run_id: object, number: int, label: str) -> object:
            return variable.set(f"attempt {number}")

        def ended(self, token: object, step: object, outcome: object, error: object) -> None:
            variable.reset(token)  # type: ignore[arg-type]

    @pipeline.step
    async def a(input: Number) -> str:
        await asyncio.sleep(0)
        return variable.get()

    (run,) = house.enqueue(pipeline)
    child.instrument = Around()
    house.shift(child)

    assert house.stage.results(run) == {"a": b'"attempt 1"'}
    assert variable.get() == ""


FORKS = """
import asyncio, os, sys
from taskplatform.executor.loop import running_loop

parent = running_loop()
asyncio.run_coroutine_threadsafe(asyncio.sleep(0), parent).result(5)
pid = os.fork()
if pid == 0:
    mine = running_loop()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), mine).result(5)
    os._exit(0 if mine is not parent else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_forked_process_makes_a_loop_of_its_own() -> None:
    """The thread of the parent's loop stays in the parent."""
    # In a process of its own: Python warns of a fork beside other threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS]
    subprocess.run(command, check=True, timeout=60)
