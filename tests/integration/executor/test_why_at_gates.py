"""What a run is said to wait for that stands in line for a limit."""

import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from taskplatform.client.shape import run_view
from taskplatform.client.view import WaitView
from taskplatform.client.why import waits
from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.throttle import Throttle
from taskplatform.storage import breakers, history
from tests.integration.executor.house import House, Number
from tests.integration.races.stage import wait_until


def _alive(house: House) -> None:
    house.stage.serve("default", "p")


def _wait(house: House, run: UUID) -> WaitView:
    found = history.get(house.stage.connection, run)
    assert found is not None
    (wait,) = waits(house.stage.connection, run_view(found))
    return wait


def test_a_throttle_says_how_much_is_taken_and_when_there_is_room(house: House) -> None:
    """Q9: limit, window, key, place in line, and when it starts at that rate."""
    _alive(house)
    declaration = Declaration("p", input=Number)

    @declaration.step(throttle=Throttle("api", 2, "1m", key=lambda _: "eu"))
    def a(input: Number) -> int:
        return input.n

    runs = house.enqueue(declaration, 5)
    house.work(house.child())
    wait = _wait(house, runs[4])
    gate = wait.gate
    assert gate is not None
    assert (gate.kind, gate.name, gate.key) == ("throttle", "api", "eu")
    assert (gate.most, gate.used, gate.per) == (2, 2, 60)
    assert wait.before == 2
    assert "throttle api[eu], of which 2 of 2 in 60 s are taken; 2 are before it" in wait.why
    left = [(at - datetime.now(UTC)).total_seconds() for at in (gate.room_at, wait.starts_at) if at]
    assert 50 < left[0] < 61
    assert 110 < left[1] < 122


def test_a_concurrency_limit_says_who_holds_it(house: House) -> None:
    """W13: the run, the step and since when."""
    _alive(house)
    declaration = Declaration("p", input=Number)
    entered, leave = threading.Event(), threading.Event()

    @declaration.step(concurrency=Concurrency("gpu", 1))
    def a(input: Number) -> int:
        entered.set()
        assert leave.wait(20)
        return input.n

    runs = house.enqueue(declaration, 2)
    first = threading.Thread(target=house.work, args=[house.child()])
    first.start()
    assert entered.wait(20)
    house.work(house.child())
    wait = _wait(house, runs[1])
    leave.set()
    first.join()
    assert wait.gate is not None
    assert (wait.gate.name, wait.gate.used, wait.gate.most) == ("gpu", 1, 1)
    (holder,) = wait.gate.holders
    assert (holder.run_id, holder.pipeline, holder.step) == (runs[0], "p", "a")
    assert holder.since is not None
    assert "concurrency gpu, of which 1 of 1 are taken; it is the next in line" in wait.why


def test_a_breaker_says_why_it_is_open(house: House) -> None:
    """W14: the last failure, and when somebody tries."""
    _alive(house)
    declaration = Declaration("p", input=Number)

    @declaration.step(breaker=Breaker("api"), retry=Retry(0))
    def a(input: Number) -> Any:
        return input.n

    breakers.open_by_hand(house.stage.connection, "api", 300.0, "the vendor said so")
    (run,) = house.enqueue(declaration, 1)
    child = house.child()

    def in_line() -> bool:
        house.work(child)
        return bool(house.stage.value("SELECT count(*) FROM taskplatform.work WHERE gate <> ''"))

    wait_until(in_line)
    wait = _wait(house, run)
    assert "breaker api, which is open: the vendor said so" in wait.why
    assert wait.gate is not None
    assert wait.gate.room_at is not None
