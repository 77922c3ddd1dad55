"""Retry budgets: the retries of a pipeline that fails wait for a part of its slots."""

import logging
from collections.abc import Iterator
from uuid import UUID

import pytest

from taskplatform.client.shape import run_view
from taskplatform.client.view import WaitView
from taskplatform.client.why import waits
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.executor import tally
from taskplatform.executor.child import Child
from taskplatform.storage import clock, history, retry_budgets
from taskplatform.storage.dispatch import release_due
from taskplatform.supervisor.gates import Gates
from taskplatform.supervisor.pauses import Pauses
from taskplatform.supervisor.retries import Retries
from taskplatform.supervisor.session import Database
from tests.integration.executor.house import House, Number

IN_LINE = "SELECT count(*) FROM taskplatform.work WHERE gate = 'retry-budget:p:'"
READY = "SELECT count(*) FROM taskplatform.work WHERE holder IS NULL AND due_at IS NULL"


class Storm:
    """A pipeline whose odd inputs fail until it is mended, and a supervisor that sees to it."""

    def __init__(self, house: House) -> None:
        house.stage.serve("default", "p")
        self.house = house
        self.mended = False
        self.bodies = 0
        self.declaration = Declaration("p", input=Number, retry=Retry(delays=["10s"] * 5))

        @self.declaration.step
        def a(input: Number) -> int:
            return self._body(input)

        self.child = house.child()
        self._database = Database(house.stage.url, "s")
        self._pauses = Pauses(self._database, ["default"], ["p"], house.rung.append)
        self.share(0.2)

    def share(self, share: float) -> None:
        gates = Gates(self._database, self.house.rung.append)
        self._retries = Retries(self._database, self._pauses, gates, ["default"], share)

    def _body(self, input: Number) -> int:
        self.bodies += 1
        if input.n % 2 and not self.mended:
            raise ConnectionError("refused")
        return input.n

    def runs(self, *numbers: int) -> list[UUID]:
        return [run for n in numbers for run in self.house.enqueue(self.declaration, first=n)]

    def work(self, child: Child | None = None) -> None:
        child = child or self.child
        self.house.work(child)
        child.link.paused.read(child.connection)
        child.ready(["default"])

    def look(self) -> None:
        self._pauses.tick()
        self._retries.tick()

    def pass_by(self, seconds: float) -> None:
        clock.advance(self.house.stage.connection, seconds)
        release_due(self.house.stage.connection)

    @property
    def in_line(self) -> int:
        return int(self.house.stage.value(IN_LINE))

    @property
    def ready(self) -> int:
        return int(self.house.stage.value(READY))

    def close(self) -> None:
        if self._database._connection is not None:
            self._database._connection.close()


@pytest.fixture
def storm(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storm]:
    monkeypatch.setattr(tally, "EVERY", 0.0)
    made = Storm(house)
    yield made
    made.close()


def _wait(house: House, run: UUID) -> WaitView:
    found = history.get(house.stage.connection, run)
    assert found is not None
    (wait,) = waits(house.stage.connection, run_view(found))
    return wait


def test_retries_of_what_fails_wait_for_their_share(
    storm: Storm, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """G5, W14: one at a time where nothing else executes; said in words; all in the end."""
    runs = storm.runs(*[1] * 30, *[2] * 10)
    storm.work()
    storm.look()
    (begun,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert "30 of 40 attempts failed in the last 5 minutes; retries get 20 % of its slots" in begun
    storm.pass_by(10)
    assert (storm.in_line, storm.ready) == (30, 0), "due, and held back"
    wait = _wait(house, runs[0])
    assert (wait.reason, wait.before) == ("retry", 0)
    assert wait.why == (
        "it waits for retry budget p, which is in force: 30 of 40 attempts failed in the last "
        "5 minutes; 1 retry is allowed at once; it is the next in line"
    )
    first = storm.runs(2, 2, 2)
    storm.look()
    storm.look()
    assert (storm.in_line, storm.ready) == (29, 4), "the share is on its way, once"
    storm.work()
    assert [house.status(run) for run in first] == ["succeeded"] * 3
    assert storm.bodies == 44
    storm.look()
    assert storm.in_line == 28, "the next one goes when that has ended"
    assert house.stage.value("SELECT max(failures) FROM taskplatform.work") == 2
    failed = "SELECT max(failures) FROM taskplatform.work WHERE gate IS NOT NULL"
    assert house.stage.value(failed) == 1, "who waits uses no attempt"

    storm.mended = True
    storm.work()
    # What ended well is most of what ended lately: it is over, though nobody waited for the window.
    storm.runs(*[2] * 40)
    storm.work()
    storm.look()
    assert any("fewer attempts fail" in one.getMessage() for one in caplog.records)
    while storm.in_line:
        storm.look()
        Gates(storm._database, house.rung.append).heal()
    storm.pass_by(10)
    storm.work()
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert house.stage.wrong() == []


def test_it_needs_twenty_attempts_of_which_most_fail(storm: Storm, house: House) -> None:
    """W14: two failures of three are no storm; nor is half; and what ends well is never told."""
    storm.runs(*[2] * 9)
    storm.work()
    assert house.stage.value("SELECT count(*) FROM taskplatform.attempt_counts") == 0
    storm.runs(*[1] * 10)
    storm.work()
    storm.look()
    assert retry_budgets.told(house.stage.connection, "p") is None
    # Another process, in which nothing fails, is heard as soon as something fails anywhere.
    other = house.child()
    storm.runs(2)
    storm.work(other)
    storm.look()
    counts = "SELECT sum(passed), sum(failed) FROM taskplatform.attempt_counts"
    assert house.stage.rows(counts) == [(10, 10)]
    assert retry_budgets.told(house.stage.connection, "p") is None
    storm.runs(1)
    storm.work()
    storm.look()
    assert retry_budgets.told(house.stage.connection, "p") == retry_budgets.Told(21, 11, 1, 0)
    clock.advance(house.stage.connection, retry_budgets.WINDOW)
    storm.look()
    storm.look()
    assert retry_budgets.told(house.stage.connection, "p") is None, "the window has passed"
    assert house.stage.value("SELECT count(*) FROM taskplatform.attempt_counts") == 0


def test_what_is_ready_already_is_set_aside_and_a_person_goes_first(
    storm: Storm, house: House
) -> None:
    """W14, G6: a storm that begins with thousands of ready retries; `runs retry` does not wait."""
    runs = storm.runs(*[1] * 25)
    storm.work()
    storm.pass_by(10)
    assert (storm.in_line, storm.ready) == (0, 25)
    storm.look()
    assert (storm.in_line, storm.ready) == (24, 1)
    storm.mended = True
    house.retry(runs[7], "a")
    storm.work()
    assert house.status(runs[7]) == "succeeded"
    assert house.stage.wrong() == []


def test_a_share_of_one_is_no_budget(storm: Storm, house: House) -> None:
    """C4: TASKPLATFORM_RETRY_BUDGET=1 also ends one that is in force."""
    storm.runs(*[1] * 25)
    storm.work()
    storm.look()
    assert retry_budgets.told(house.stage.connection, "p") is not None
    storm.share(1.0)
    storm.look()
    assert retry_budgets.told(house.stage.connection, "p") is None
