"""What bodies log is stored with their attempts, in the same commit."""

import asyncio
import logging
import threading

from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.errors import Permanent
from taskplatform.executor.step_log import keep_logs
from tests.integration.executor.house import House, Number


def logs(house: House, table: str) -> dict[str, str | None]:
    """The messages that were kept, by step."""
    rows = house.stage.rows(f"SELECT step_name, log FROM taskplatform.{table}")
    return {
        step: log and " ".join(line.split(": ", 1)[1] for line in log.splitlines())
        for step, log in rows
    }


def test_each_attempt_keeps_its_own_log(house: House) -> None:
    """The one that failed and the one that succeeded; a step that logs nothing has none."""
    pipeline = Declaration("p", input=Number, retry=Retry(delays=[0.001]))

    @pipeline.step
    def a(input: Number, ctx: Context) -> int:
        ctx.logger.info("attempt %d", ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError
        return 1

    @pipeline.step
    def b(a: int) -> int:
        return 1

    @pipeline.step
    def c(b: int, ctx: Context) -> int:
        ctx.logger.info("last %s", "\x00 one")
        return 1

    (run,) = house.enqueue(pipeline)
    house.work(house.child())
    house.stage.connection.execute("UPDATE taskplatform.work SET due_at = NULL")
    house.work_elsewhere()

    assert house.status(run) == "succeeded"
    assert logs(house, "step_attempts") == {"a": "attempt 1"}
    assert logs(house, "step_results") == {"a": "attempt 2", "b": None, "c": "last \ufffd one"}


def test_a_batch_of_short_steps_keeps_them_apart(house: House) -> None:
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number, ctx: Context) -> int:
        if input.n % 2:
            ctx.logger.info("%d", input.n)
        return 1

    @pipeline.step
    def b(a: int) -> int:
        return 1

    house.enqueue(pipeline, 4)
    house.work(house.child("a", "b"))

    kept = "SELECT right(log, 1) FROM taskplatform.step_results WHERE log IS NOT NULL ORDER BY 1"
    assert house.stage.rows(kept) == [("1",), ("3",)]


def test_async_bodies_and_threads_that_take_the_context_along_are_kept(house: House) -> None:
    """The attempt is known by a context variable; a bare thread does not have it."""
    pipeline = Declaration("p", input=Number)
    logger = logging.getLogger("shop")

    @pipeline.step
    async def a(ctx: Context) -> int:
        ctx.logger.info("one")
        await asyncio.to_thread(ctx.logger.info, "two")
        await asyncio.gather(asyncio.sleep(0), say(ctx, "three"))
        bare = threading.Thread(target=ctx.logger.info, args=("of nobody",))
        bare.start()
        bare.join()
        logger.warning("four")
        return 1

    async def say(ctx: Context, what: str) -> None:
        ctx.logger.info(what)

    house.enqueue(pipeline)
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    keep_logs(logging.INFO)
    house.work(house.child())
    root.setLevel(level)
    root.handlers[:] = handlers

    assert logs(house, "step_results") == {"a": "one two three four"}


def test_the_log_of_what_ends_a_run_is_kept(house: House) -> None:
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(ctx: Context) -> int:
        ctx.logger.warning("no such thing")
        raise Permanent("no")

    (run,) = house.enqueue(pipeline)
    house.work(house.child())

    assert house.status(run) == "failed"
    assert logs(house, "step_attempts") == {"a": "no such thing"}
