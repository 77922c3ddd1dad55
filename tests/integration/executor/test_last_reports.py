"""The last report of a body stays with its work while that waits for the next attempt."""

from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from tests.integration.executor.house import House, Number

SEEN = "SELECT step, progress_done, progress_total FROM taskplatform.work"


def test_how_far_a_failed_attempt_came_is_visible(house: House) -> None:
    """Nobody had time to write it while the body ran; it comes with the failure."""
    pipeline = Declaration("p", input=Number, retry=Retry(delays=["1h"]))

    @pipeline.step
    def a(ctx: Context) -> int:
        ctx.progress(1, 10)
        ctx.progress(7, 10)
        raise ValueError

    house.enqueue(pipeline)
    house.work(house.child())

    assert house.stage.rows(SEEN) == [("a", 7.0, 10.0)]


def test_the_next_step_begins_without_a_report(house: House) -> None:
    pipeline = Declaration("p", input=Number, retry=Retry(delays=["1h"]))

    @pipeline.step
    async def a(ctx: Context) -> int:
        ctx.progress(10, 10)
        return 1

    @pipeline.step
    def b(a: int) -> int:
        raise ValueError

    house.enqueue(pipeline)
    house.work(house.child())

    assert house.stage.rows(SEEN) == [("b", None, None)]
