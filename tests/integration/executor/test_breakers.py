"""Breakers in the hands of children: opened by failures, one probe over all workers, and closed."""

import logging
import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import pytest

from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.errors import Permanent, RetryAfter
from taskplatform.executor.notes import Note
from taskplatform.middleware import known
from taskplatform.storage import breakers, clock
from taskplatform.storage.dispatch import release_due
from taskplatform.supervisor.gates import Gates
from taskplatform.supervisor.rescue import Loss
from taskplatform.supervisor.session import Database
from tests.integration.executor.house import House, Number
from tests.integration.races.stage import wait_until

API = Breaker("api", failures=0.5, minimum=4, window="1m", cool_down="30s", ramp=4)


@pytest.fixture(autouse=True)
def alive(house: House) -> None:
    """A worker that serves what stands in line."""
    house.stage.serve("default", "p", "other")


class Api:
    """Something outside that may be dead."""

    def __init__(self) -> None:
        self.dead = True
        self.calls = 0
        self.error: Callable[[], BaseException] = lambda: ConnectionError("refused")

    def __call__(self) -> int:
        self.calls += 1
        if self.dead:
            raise self.error()
        return self.calls


def using(api: Api, breaker: Breaker = API, **options: Any) -> Declaration[Number]:
    declaration = Declaration("p", input=Number, retry=Retry(3, base="1h"))

    @declaration.step(breaker=breaker, **options)
    def a() -> int:
        return api()

    return declaration


def state(house: House) -> str:
    return breakers.told(house.stage.connection)[0].state


def in_line(house: House) -> int:
    return int(house.stage.value("SELECT count(*) FROM taskplatform.work WHERE gate IS NOT NULL"))


def heal(house: House) -> None:
    """What a supervisor does when it is time."""
    database = Database(house.stage.url, "s")
    Gates(database, house.rung.append).heal()
    assert database._connection is not None
    database._connection.close()


def test_a_dead_api_costs_no_more_attempts_than_it_takes_to_know(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """W14: it opens, half-opens with one probe, ramps up, closes; who waits holds nothing."""
    api = Api()
    runs = house.enqueue(using(api), 30)
    child = house.child()
    house.work(child)
    assert (api.calls, state(house), in_line(house)) == (4, "open", 26)
    assert house.stage.value("SELECT count(*) FROM taskplatform.step_attempts") == 4
    reasons = house.stage.rows(
        "SELECT DISTINCT reason FROM taskplatform.runs WHERE status = 'waiting' ORDER BY 1"
    )
    assert reasons == [("breaker",), ("retry",)]
    (opened,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "breaker api is open: 4 of 4 failed within 60 s, such as ConnectionError: refused" in (
        opened.getMessage()
    )
    heal(house)
    house.work(child)
    assert api.calls == 4

    clock.advance(house.stage.connection, 31)
    forget(child)
    heal(house)
    house.work(child)
    assert (api.calls, state(house)) == (5, "open"), "one probe, and it failed"
    assert in_line(house) == 25
    assert (
        house.stage.value(
            "SELECT outcome FROM taskplatform.step_attempts WHERE number = 1"
            " AND finished_at > now() - interval '20 s'"
        )
        == "put-off"
    )

    api.dead = False
    clock.advance(house.stage.connection, 31)
    forget(child)
    heal(house)
    house.work(child)
    while in_line(house):
        heal(house)
        house.work(child)
    assert state(house) == "closed"
    # 1, 2, 4 in turn; then all that is left.
    assert [house.status(run) for run in runs].count("succeeded") >= 25
    assert house.stage.value("SELECT count(*) FROM taskplatform.slots") == 0
    assert any("breaker api is closed" in one.getMessage() for one in caplog.records)


def forget(child: Any) -> None:
    """Time has passed: what the child knew of breakers is old."""
    for one in child.link.breakers.known.values():
        one.asked -= known.BELIEVED
        one.state = breakers.State(one.state.state, 0.0)


def test_half_open_lets_one_through_over_all_workers_even_if_it_dies(house: House) -> None:
    """W14: the probe's place is free again when its holder's lease is gone."""
    api = Api()
    declaration = using(api)
    house.enqueue(declaration, 12)
    house.work(house.child())
    assert state(house) == "open"
    clock.advance(house.stage.connection, 31)
    inside, leave = threading.Event(), threading.Event()

    def probe() -> int:
        inside.set()
        leave.wait(20)
        return 1

    declaration.steps[0].surround(lambda _: probe)
    heal(house)
    (one,) = house.stage.rows("SELECT id FROM taskplatform.work WHERE due_at IS NULL")
    first = house.child()
    thread = threading.Thread(target=house.shift, args=[first])
    thread.start()
    assert inside.wait(20)
    house.enqueue(declaration, 5, first=20)
    other = house.child()
    house.work(other)
    heal(house)
    house.work(other)
    assert (state(house), in_line(house)) == ("half-open", 7 + 5)

    holder = first.slot.holder
    assert house.rescuer.rescue(house.stage.connection, _loss(holder)), (
        "who probed is dead: another one does"
    )
    leave.set()
    thread.join(20)
    house.work(other)
    assert in_line(house) < 12
    assert one


def _loss(holder: int) -> Any:
    return Loss(holder, "crashed", None, certain=False)


def test_a_body_that_had_to_be_killed_counts_too(house: House) -> None:
    """W14: it ignored its time limit, and its supervisor tells."""
    api = Api()
    declaration = using(api, Breaker("api", minimum=1))
    house.enqueue(declaration)
    child = house.child()
    (claimed,) = child.claim(["default"])[0]
    note = Note(claimed.work_id, claimed.epoch, monotonic_ns(), 1)
    loss = Loss(child.slot.holder, "timed-out", note, certain=True)
    house.rescuer.rescue(house.stage.connection, loss)
    assert state(house) == "open"


@pytest.mark.parametrize(
    ("error", "counts", "opens"),
    [
        (ConnectionError("x"), None, True),
        (Permanent("x"), None, False),
        (RetryAfter(3600), None, False),
        (RetryAfter(3600), lambda error: isinstance(error, RetryAfter), True),
        (ValueError("x"), lambda error: isinstance(error, ConnectionError), False),
        (ValueError("x"), lambda error: error.status == 503, True),
    ],
)
def test_what_counts_as_a_failure(
    house: House, error: BaseException, counts: Any, opens: bool
) -> None:
    """W14: all but what the API has answered, or what the predicate says."""
    api = Api()
    api.error = lambda: error
    house.enqueue(using(api, Breaker("api", minimum=4, counts=counts)), 6)
    house.work(house.child())
    assert (state(house), api.calls) == (("open", 4) if opens else ("closed", 6))


def test_time_outs_count_and_few_failures_among_many_do_not_open(house: House) -> None:
    """W14: a share of what ended within the window."""
    api = Api()
    declaration = using(api, timeout="20ms")
    api.dead = False
    house.enqueue(declaration, 30)
    child = house.child("a")
    house.work(child)
    declaration.steps[0].surround(lambda _: lambda: threading.Event().wait(5))
    house.enqueue(declaration, 4, first=50)
    house.work(child)
    (told,) = breakers.told(house.stage.connection)
    assert (told.state, told.failed) == ("closed", 4)
    clock.advance(house.stage.connection, 120)
    house.enqueue(declaration, 5, first=60)
    house.work(child)
    assert (state(house), in_line(house)) == ("open", 1)


def test_by_hand(house: House) -> None:
    """W14: opened for a time or for ever, and closed; others go on meanwhile."""
    api = Api()
    api.dead = False
    ask = house.stage.connection
    breakers.open_by_hand(ask, "api", None, "by hand")
    first = house.enqueue(using(api, concurrency=Concurrency("both", 1)), 3)
    other = Declaration("other", input=Number)

    @other.step
    def a() -> int:
        return 1

    second = house.enqueue(other, 3)
    child = house.child()
    house.work(child)
    assert [house.status(run) for run in second] == ["succeeded"] * 3
    assert in_line(house) == 3
    clock.advance(ask, 3600)
    heal(house)
    assert in_line(house) == 3
    assert breakers.close_by_hand(ask, "api")
    assert not breakers.close_by_hand(ask, "api")
    heal(house)
    wait_until(lambda: not child.link.breakers.known["api"].is_fresh)
    release_due(ask)
    house.work(child)
    assert [house.status(run) for run in first] == ["succeeded"] * 3


def test_a_step_that_ends_well_asks_the_database_four_times_a_second(house: House) -> None:
    """The hot path: a closed breaker is no trip for a body."""
    api = Api()
    api.dead = False
    house.enqueue(using(api), 100)
    child = house.child("a")
    asked: list[float] = []
    report = breakers.report

    def counted(*given: Any, **named: Any) -> Any:
        asked.append(1)
        return report(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(breakers, "report", counted)
        house.work(child)
    assert api.calls == 100
    assert len(asked) < 20
