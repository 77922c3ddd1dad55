"""Middlewares of the application around a step, on children, on seats and in process."""

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from taskplatform.core.outcome import Outcome, Succeeded
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.errors import Permanent, RetryAfter
from taskplatform.middleware import StepAttempt, own
from taskplatform.middleware.own import around_step
from taskplatform.testing import run
from tests.integration.executor.crew import Crew
from tests.integration.executor.house import Count, House, Number

Around = Generator[None, Outcome, None]


@pytest.fixture(autouse=True)
def _none_stays() -> Iterator[None]:
    yield
    own.forget()


def declare(count: Count, *, is_async: bool = False) -> Declaration[Number]:
    pipeline = Declaration("p", input=Number, retry=Retry(delays=[60]))

    def body(input: Number) -> int:
        return count("body") * 0 + input.n

    async def later(input: Number) -> int:
        return body(input)

    pipeline.step(name="a")(later if is_async else body)
    return pipeline


@pytest.mark.parametrize("where", ["child", "seats", "async"])
def test_they_stand_around_every_attempt_in_their_order(
    house: House, count: Count, where: str
) -> None:
    """C4: outermost first, with what the attempt came to."""
    seen: list[str] = []

    @around_step
    def outer(attempt: StepAttempt) -> Around:
        seen.append(f"outer {attempt.step.name} {attempt.number} {attempt.input.n}")
        outcome = yield
        assert isinstance(outcome, Succeeded)
        seen.append(f"outer {outcome.output.decode()}")

    @around_step
    def inner(attempt: StepAttempt) -> Around:
        seen.append("inner")
        yield

    pipeline = declare(count, is_async=where == "async")
    (id,) = house.enqueue(pipeline, first=3)
    if where == "child":
        house.work(house.child())
    else:
        crew = Crew(house, 2)
        crew.work(1)
        crew.close()
    assert seen == ["outer a 1 3", "inner", "outer 3"]
    assert house.status(id) == "succeeded"
    assert run(pipeline, {"n": 3}).output == 3
    assert seen == ["outer a 1 3", "inner", "outer 3"] * 2


@pytest.mark.parametrize(
    ("raises", "late", "attempts", "message"),
    [
        (KeyError("x"), False, [("a", 1, "failed")], "middleware 'shop.faulty' around step 'p.a'"),
        (KeyError("x"), True, [("a", 1, "failed")], "raised KeyError: 'x'"),
        (RetryAfter(60, "busy"), False, [("a", 1, "put-off")], "busy"),
        (Permanent("never"), False, [("a", 1, "failed")], "never"),
    ],
)
def test_what_one_raises_is_the_attempts_failure(
    house: House,
    count: Count,
    raises: Exception,
    late: bool,
    attempts: list[tuple[str, int, str]],
    message: str,
) -> None:
    """C4: named; by the step's policy; no body, unless it had been executed by then."""

    def faulty(attempt: StepAttempt) -> Around:
        if not late:
            raise raises
        yield
        raise raises

    faulty.__module__, faulty.__qualname__ = "shop", "faulty"
    around_step(faulty)
    pipeline = declare(count)
    (id,) = house.enqueue(pipeline)
    house.work(house.child())
    assert house.stage.attempts(id) == attempts
    said = house.stage.value("SELECT error ->> 'message' FROM taskplatform.step_attempts")
    assert message in said
    assert count.of("body") == int(late)
    assert house.status(id) == ("failed" if isinstance(raises, Permanent) else "waiting")
    in_process: Any = run(pipeline, {"n": 1})
    assert in_process.steps[0].attempts[0].outcome == attempts[0][2]
