"""A throttle that learns: what a body is told by an API slows all workers down at once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from taskplatform import RetryAfter, Throttle, testing
from taskplatform.core import registry
from taskplatform.core.pipeline import Declaration
from taskplatform.storage import clock, throttle_lines, throttle_views
from taskplatform.storage.dispatch import release_due
from tests.integration.executor.house import Count, House, Number


def declared(body: Callable[[int], int], *throttles: Throttle) -> Declaration[Number]:
    declaration = Declaration("p", input=Number)

    @declaration.step(throttle=throttles)
    def call(input: Number) -> int:
        return body(input.n)

    registry.finalize_all()
    return declaration


def serve(house: House) -> None:
    house.stage.serve("default", "p")


def states(house: House) -> list[tuple[Any, ...]]:
    return house.stage.rows("SELECT status, reason FROM taskplatform.runs ORDER BY id")


def test_a_refusal_puts_off_and_holds_all_back(house: House, count: Count) -> None:
    """W6: no retry is used; who comes next stands in line until the API's time has passed."""
    api = Throttle("api", limit=10, per="1m")

    def body(n: int) -> int:
        if count(n) == 1 and n == 0:
            api.learn({"Retry-After": "20"}, status=429)
        return n

    house.enqueue(declared(body, api), 3)
    serve(house)
    house.work(house.child())

    assert states(house) == [("waiting", "retry"), *[("waiting", "throttle")] * 2]
    assert count.times == {0: 1}
    (seen,) = throttle_views.listed(house.stage.connection, "api")
    assert seen.paused_why == "the API answered 429"
    assert seen.waiting == 2
    clock.advance(house.stage.connection, 20.0)
    assert throttle_lines.let_go(house.stage.connection) == 2
    release_due(house.stage.connection)
    house.work(house.child())

    assert {status for status, _ in states(house)} == {"succeeded"}
    assert count.times == {0: 2, 1: 1, 2: 1}
    assert house.stage.rows("SELECT outcome FROM taskplatform.step_attempts") == [("put-off",)]
    assert house.stage.value("SELECT max(failures) FROM taskplatform.work") is None


@pytest.mark.parametrize("how", ["RetryAfter", "remaining", "async"])
def test_a_body_tells_in_other_ways_too(house: House, how: str) -> None:
    """W6: by RetryAfter alone, of the first limit; and by the last answer that was not refused."""
    api, other = Throttle("api", limit=10, per="1m", key="n"), Throttle("other", 10, "1m")

    def body(n: int) -> int:
        if how == "RetryAfter":
            raise RetryAfter(30, "the API is busy")
        api.learn({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 200)
        return n

    async def later(input: Number) -> int:
        await asyncio.sleep(0)
        return body(input.n)

    def now(input: Number) -> int:
        return body(input.n)

    declaration = Declaration("p", input=Number)
    if how == "async":
        declaration.step(throttle=[api, other], name="call")(later)
    else:
        declaration.step(throttle=[api, other], name="call")(now)
    house.enqueue(declaration, 1, first=7)
    house.work(house.child())

    closed = {
        (one.name, one.scope): one.paused_why
        for one in throttle_views.listed(house.stage.connection)
        if one.paused_until
    }
    why = "the API is busy" if how == "RetryAfter" else "the API's own limit is used up"
    assert closed == {("api", "7"): why}


def test_in_process_nothing_is_limited_and_learnt_things_are_nobodys_business() -> None:
    """A user's unit test needs no database, whatever its bodies ask of a throttle."""
    registry.clear()
    api = Throttle("api", limit=1, per="1h")
    declaration = Declaration("p", input=Number)

    @declaration.step(throttle=api)
    def call(input: Number) -> int:
        with api.acquire(timeout=0), api.acquire(timeout=0):
            pass
        api.learn({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 200)
        return input.n

    @declaration.step
    async def again(call: int) -> int:
        async with api.acquire(timeout=0):
            api.learn({"RateLimit": "limit=1, remaining=0, reset=1"}, 200)
        return call

    assert testing.run(declaration, Number(n=3)).output == 3
    registry.clear()
