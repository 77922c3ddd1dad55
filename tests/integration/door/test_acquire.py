"""The budget of a throttle outside of steps: who waits, in which order, and what it learns."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskplatform import RetryAfter, Throttle, Throttled
from taskplatform.client import acquiring
from taskplatform.errors import InvalidInput
from taskplatform.storage import throttle_views
from taskplatform.storage.connection import Session
from taskplatform.storage.throttles import VALID_SHARE, Grant, Refusal, Wanted, ask


@pytest.fixture(autouse=True)
def door(database_url: str, front_door: Callable[[str], None]) -> None:
    front_door(database_url)


def reserved(connection: Session) -> int:
    row = connection.execute("SELECT count(*) FROM taskplatform.reservations").fetchone()
    assert row is not None
    return int(row[0])


def test_a_block_begins_with_a_grant_or_not_at_all(connection: Session) -> None:
    """Q8: the same budget as that of steps; who would wait in vain is told so at once."""
    api = Throttle("api", limit=2, per="1m")
    with api.acquire(timeout=0):
        pass
    assert isinstance(ask(connection, [Wanted("api", "", 2, 60.0)]), Grant)
    began = time.monotonic()
    with pytest.raises(Throttled, match="'api'") as refused, api.acquire(timeout=5):
        pytest.fail("there was no grant")
    assert 50 < refused.value.seconds < 61
    assert time.monotonic() - began < 4
    assert reserved(connection) == 0


def test_who_waits_is_served_in_order_on_time_and_without_a_herd(
    connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q8, Q22: each asks when its own turn comes; nobody overtakes; a heavy one is not starved."""
    window = 1.5
    api = Throttle("api", limit=2, per=window)
    asks: list[float] = []
    real = vars(acquiring)["ask"]

    def asked(*args: object, **more: object) -> object:
        asks.append(time.monotonic())
        return real(*args, **more)

    monkeypatch.setattr(acquiring, "ask", asked)
    served: list[tuple[int, float]] = []
    with api.acquire(weight=2):
        first = time.monotonic()

    def wait(number: int, weight: int) -> None:
        with api.acquire(timeout=30, weight=weight):
            served.append((number, time.monotonic() - first))

    with ThreadPoolExecutor(4) as pool:
        for number, weight in enumerate([1, 2, 1, 1]):
            pool.submit(wait, number, weight)
            while reserved(connection) <= number and len(served) == 0:
                time.sleep(0.001)
    numbers = [number for number, _ in served]
    # The last two have the same turn.
    assert (numbers[:2], sorted(numbers[2:])) == ([0, 1], [2, 3])
    longer = window * (1 + VALID_SHARE)
    for (_, at), turn in zip(served, [1, 2, 3, 3], strict=True):
        assert turn * window - 0.05 < at < turn * longer + 0.5
    # Each asks at first, in the end, and about once in between where the way is long.
    assert len(asks) <= 1 + 4 * 6
    assert reserved(connection) == 0


def test_an_async_block_waits_while_the_loop_goes_on(connection: Session) -> None:
    """Q8: and one that is cancelled leaves its place to the others."""
    api = Throttle("api", limit=1, per=0.6)
    turns = 0

    async def serve() -> None:
        async with api.acquire(timeout=10):
            pass

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        await serve()
        gone = asyncio.create_task(serve())
        while not reserved(connection):
            await asyncio.sleep(0.01)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert reserved(connection) == 0
        await serve()
        ticking.cancel()

    asyncio.run(main())
    assert turns > 20


def test_what_is_waited_for_outside_is_kept_from_lines(connection: Session) -> None:
    """Q8: a web process that waits comes before runs that wait."""
    api = Throttle("api", limit=1, per=2)
    with api.acquire():
        began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:

        def wait() -> float:
            with api.acquire(timeout=10):
                return time.monotonic()

        waiting = pool.submit(wait)
        while not reserved(connection):
            time.sleep(0.001)
        (seen,) = throttle_views.listed(connection, "api")
        assert (seen.used, seen.reserved) == (1, 1)
        newcomer = ask(connection, [Wanted("api", "", 1, 2.0)])
        assert isinstance(newcomer, Refusal)
        # Not when the first grant ends, but when that of who waits has.
        assert newcomer.seconds > 2.0
        assert waiting.result() - began < 2.0 * (1 + VALID_SHARE) + 0.5


def test_an_answer_holds_everybody_back(connection: Session) -> None:
    """W6: by its headers, by the exception of a block; a longer time that was said before stays."""
    api = Throttle("api", limit=10, per="1m")
    assert api.learn({"X-RateLimit-Remaining": "5"}, 200) == 0.0
    with pytest.raises(RetryAfter) as told:
        api.learn({"Retry-After": "30"}, 429)
    assert told.value.seconds == 30.0
    assert api.learn({"RateLimit": "limit=9, remaining=0, reset=3"}, 200) == 3.0
    (seen,) = throttle_views.listed(connection, "api")
    assert (seen.paused_why, seen.used) == ("the API answered 429", 0)
    with pytest.raises(Throttled) as held, api.acquire(timeout=2):
        pytest.fail("the gate is closed")
    assert 28 < held.value.seconds <= 30

    other = Throttle("other", limit=10, per="1m", key="tenant")
    with pytest.raises(RetryAfter), other.acquire(scope="a"):
        raise RetryAfter(20, "the other side is busy")
    with pytest.raises(Throttled), other.acquire(timeout=0, scope="a"):
        pytest.fail("the gate is closed")
    with other.acquire(timeout=0, scope="b"):
        pass


def test_what_cannot_be_asked_for_is_said_at_once() -> None:
    """Q12: before anything is waited for."""
    plain, keyed = Throttle("a", 3, 60), Throttle("b", 3, 60, key="tenant")
    for wrong in (0, 4, 1.5, True):
        with pytest.raises(InvalidInput, match="weight"):
            plain.acquire(weight=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="scope"):
        keyed.acquire()
    with pytest.raises(InvalidInput, match="no key"):
        plain.acquire(scope="x")
