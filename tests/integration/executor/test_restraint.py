"""When a child holds back: after an outage, and when a pipeline is paused."""

import time

import pytest

from taskplatform.core.pipeline import Declaration
from taskplatform.errors import Unavailable
from taskplatform.executor import link, paused
from taskplatform.executor.child import Child
from taskplatform.storage import pauses
from tests.integration.executor.house import Count, House, Number


@pytest.fixture
def chain(count: Count) -> Declaration[Number]:
    """Two steps that count."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        return count(("a", input.n))

    @pipeline.step
    def b(input: Number) -> int:
        return count(("b", input.n))

    return pipeline


def claims(child: Child) -> int:
    """How many rows it takes at once."""
    return len(child.claim(["default"])[0])


def test_a_child_that_finds_leases_run_out_claims_slowly(
    house: House, chain: Declaration[Number]
) -> None:
    """F19: a restart that lost all leases: everything is ready, and everybody comes at once."""
    house.enqueue(chain, 20)
    house.stage.holder()
    house.stage.connection.execute("UPDATE taskplatform.holders SET lease_until = '-infinity'")
    child = house.child("a", "b")
    assert claims(child) == 1
    assert 0.4 < child.link.pace.wait() <= 0.5
    house.stage.connection.execute("DELETE FROM taskplatform.holders")
    assert claims(house.child("a", "b")) == 19


def test_a_child_that_saw_the_database_away_claims_slowly(
    house: House, chain: Declaration[Number], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F18, F19: an outage is when nobody can connect; a connection that was cut is none."""
    house.enqueue(chain, 20)
    child = house.child("a", "b")
    child.ready(["default"])
    house.kill_connection(child)
    assert child.ready(["default"]) is False
    assert child.ready(["default"]) is True
    assert child.link.pace.wait() == 0
    with monkeypatch.context() as away:

        def refuse(*_: object, **__: object) -> None:
            raise Unavailable("too many connections")

        away.setattr(link, "connect", refuse)
        house.kill_connection(child)
        child.ready(["default"])
        with pytest.raises(Unavailable):
            claims(child)
    assert claims(child) == 1
    assert child.link.pace.wait() > 0


def test_nothing_of_a_paused_pipeline_is_claimed(
    house: House, chain: Declaration[Number], monkeypatch: pytest.MonkeyPatch
) -> None:
    """W14: within the time that what was read of the pauses may be old."""
    monkeypatch.setattr(paused, "EVERY", 0.2)
    runs = house.enqueue(chain, 5)
    child = house.child("a", "b")
    assert child.ready(["default"])
    began = time.monotonic()
    pauses.pause(house.stage.connection, "p", None)
    while child.ready(["default"]):
        assert time.monotonic() - began < 1
    assert claims(child) == 0
    pauses.resume(house.stage.connection, "p")
    while not child.ready(["default"]):
        assert time.monotonic() - began < 2
    house.work(child)
    assert {house.status(run) for run in runs} == {"succeeded"}


def test_a_run_in_hand_stops_at_its_next_step(
    house: House, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W14, G3, G4: the body that runs may end and its result counts; the next one waits."""
    monkeypatch.setattr(paused, "EVERY", 0.0)
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        pauses.pause(house.stage.connection, "p", None)
        return count("a")

    @pipeline.step
    def b(input: Number) -> int:
        return count("b")

    (run,) = house.enqueue(pipeline)
    child = house.child("a", "b")
    house.work(child)
    assert count.times == {"a": 1}
    assert list(house.stage.results(run)) == ["a"]
    assert house.stage.rows("SELECT step, holder, due_at FROM taskplatform.work") == [
        ("b", None, None)
    ]
    pauses.resume(house.stage.connection, "p")
    house.work(child)
    assert count.times == {"a": 1, "b": 1}
    assert house.status(run) == "succeeded"
    assert not house.stage.wrong()
