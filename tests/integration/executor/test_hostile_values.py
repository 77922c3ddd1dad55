"""F35, F36: outputs that cannot be stored and exceptions that cannot be told: never a stuck run."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.throttle import Throttle
from taskplatform.errors import Permanent, RetryAfter
from taskplatform.executor.batch import Batch
from taskplatform.executor.instruments import Silent
from taskplatform.storage.claim import held_by
from taskplatform.supervisor.rescue import lost_holders
from tests.integration.executor.house import Count, House, Number
from tests.integration.races.stage import wait_until


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


OUTPUTS: dict[str, Callable[[], Any]] = {
    "nan": lambda: float("nan"),
    "infinity": lambda: [float("inf")],
    "nul": lambda: "a\x00b",
    "lone surrogate": lambda: {"x": "\ud800"},
    "a surrogate as a name": lambda: {"\udfff": 1},
    "generator": lambda: (n for n in range(3)),
    "object": object,
    "a module": lambda: sys,
    "too large": lambda: "x" * (2 * 1024 * 1024),
    "too deep": lambda: nested(10_000),
    "cyclic": cyclic,
}


class Unspeakable(Exception):
    """Cannot be described."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Unpicklable(Exception):
    """Holds what cannot be pickled."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.held = lambda: None


def recurse() -> None:
    recurse()


def explode(error: BaseException) -> Callable[[], Any]:
    def body() -> Any:
        raise error

    return body


RAISED: dict[str, Callable[[], Any]] = {
    "unspeakable": explode(Unspeakable()),
    "unpicklable": explode(Unpicklable(object())),
    "ten megabytes": explode(ValueError("x" * 10_000_000)),
    "nul and surrogates": explode(ValueError("\x00 \ud800")),
    "base exception": explode(BaseException("base")),
    "system exit": explode(SystemExit(3)),
    "keyboard interrupt": explode(KeyboardInterrupt()),
    "generator exit": explode(GeneratorExit()),
    "cancelled": explode(asyncio.CancelledError()),
    "group": explode(ExceptionGroup("several", [ValueError(1), OSError(2)])),
    "base group": explode(BaseExceptionGroup("several", [KeyboardInterrupt()])),
    "recursion": recurse,
    "stop iteration": explode(StopIteration(1)),
}


def one_step(body: Callable[[], Any], count: Count, **options: Any) -> Declaration[Number]:
    """The first run is executed so, its neighbours return their number."""
    pipeline = Declaration("p", input=Number, **options)

    @pipeline.step
    def a(input: Number) -> Any:
        count(input.n)
        return body() if input.n == 1 else input.n

    return pipeline


def check_failed(house: House, runs: list[Any], outcome: str = "failed") -> dict[str, Any]:
    """The second run failed after one retry, its neighbours succeeded; the error."""
    assert [house.status(run) for run in runs] == ["succeeded", "failed", "succeeded"]
    assert house.stage.attempts(runs[1]) == [("a", 1, outcome), ("a", 2, outcome)]
    assert not house.stage.wrong()
    stored = house.stage.value("SELECT error FROM taskplatform.runs WHERE id = %s", runs[1])
    assert len(stored) <= 64 * 1024
    error: dict[str, Any] = json.loads(stored)
    assert error["step"] == "a"
    return error


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_that_cannot_be_stored_fails_its_attempt(
    house: House, count: Count, name: str
) -> None:
    """F35, Q12: a clear message, then the policy; the neighbours in the batch are stored."""
    pipeline = one_step(OUTPUTS[name], count, retry=Retry(delays=[0]))
    runs = house.enqueue(pipeline, 3)
    child = house.child("a")

    house.work(child)
    house.stage.connection.execute("UPDATE taskplatform.work SET due_at = NULL")
    house.work(child)

    error = check_failed(house, runs)
    assert error["message"]
    assert count.times == {0: 1, 1: 2, 2: 1}


@pytest.mark.parametrize("name", RAISED)
def test_whatever_a_body_raises_is_recorded(house: House, count: Count, name: str) -> None:
    """F36: capped, retried by policy, and the child lives on."""
    pipeline = one_step(RAISED[name], count, retry=Retry(delays=[0]))
    runs = house.enqueue(pipeline, 3)
    child = house.child("a")

    house.work(child)
    house.stage.connection.execute("UPDATE taskplatform.work SET due_at = NULL")
    house.work(child)

    error = check_failed(house, runs)
    assert error["type"]
    assert count.times == {0: 1, 1: 2, 2: 1}


def test_a_permanent_error_is_not_retried(house: House, count: Count) -> None:
    """W7: no retries are wasted."""
    runs = house.enqueue(one_step(explode(Permanent("no")), count), 3)

    house.work(house.child("a"))

    assert [house.status(run) for run in runs] == ["succeeded", "failed", "succeeded"]
    assert house.stage.attempts(runs[1]) == [("a", 1, "failed")]


def test_a_put_off_step_waits_as_it_asked(house: House, count: Count) -> None:
    """W6: RetryAfter uses no retry; the wait is its own."""
    runs = house.enqueue(one_step(explode(RetryAfter(30)), count, retry=Retry(0)), 3)

    house.work(house.child("a"))

    assert house.stage.attempts(runs[1]) == [("a", 1, "put-off")]
    query = "SELECT failures, put_off, due_at > clock_timestamp() + '29 s' FROM taskplatform.work"
    assert house.stage.rows(query) == [(0, 30.0, True)]


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'not in my house' USING ERRCODE = 'data_exception';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON taskplatform.{} FOR EACH ROW WHEN ({})
EXECUTE FUNCTION refuse();
"""


def test_an_output_that_the_database_refuses_fails_alone(house: House, count: Count) -> None:
    """F35: its neighbours of the same transaction are stored, though it was undone for all."""
    house.stage.connection.execute(
        REFUSE.format("step_results", """NEW.output::text = '"poison"'""")
    )
    pipeline = one_step(lambda: "poison", count, retry=Retry(delays=[0]))
    runs = house.enqueue(pipeline, 3)
    child = house.child("a")
    for _ in range(2):
        house.work(child)
        house.stage.connection.execute("UPDATE taskplatform.work SET due_at = NULL")

    error = check_failed(house, runs)
    assert error["type"] == "OutputNotStorable"
    assert "not in my house" in error["message"]
    assert count.times == {0: 1, 1: 2, 2: 1}


def test_a_failure_that_the_database_refuses_parks_the_run(house: House, count: Count) -> None:
    """G5: parked with a stated reason, not held for ever by a child that lives."""
    house.stage.connection.execute(REFUSE.format("step_attempts", "true"))
    runs = house.enqueue(one_step(explode(ValueError("no")), count), 3)
    child = house.child("a")

    house.work(child)

    assert [house.status(run) for run in runs] == ["succeeded", "waiting", "succeeded"]
    ((reason, why),) = house.stage.rows(
        "SELECT reason, waiting_for FROM taskplatform.runs WHERE id = %s", runs[1]
    )
    assert reason == "parked"
    assert "not in my house" in why
    assert held_by(house.stage.connection, child.slot.holder) == []
    assert not house.stage.wrong()


def test_a_throttle_key_that_raises_is_a_failed_attempt(house: House) -> None:
    """F36: users' code like any other."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))

    def tenant(_: Any) -> str:
        raise LookupError("no tenant")

    @pipeline.step(throttle=Throttle("api", 1, "1m", key=tenant))
    def a(input: Number) -> int:
        return 1

    (run,) = house.enqueue(pipeline)
    house.work(house.child())

    assert house.status(run) == "failed"
    ago = "SELECT extract(epoch FROM finished_at - started_at) FROM taskplatform.step_attempts"
    assert house.stage.value(ago) < 60


def test_a_child_that_fails_itself_gives_up_its_lease(house: House, count: Count) -> None:
    """G5: a defect of ours must not keep work from everybody for as long as the child lives."""
    runs = house.enqueue(one_step(lambda: 1, count), 3)
    child = house.child("a")

    class Broken(Silent):
        def started(self, step: object, run_id: object, number: object, label: str) -> None:
            raise AssertionError("a defect")

    kept, child.instrument = child.instrument, Broken()
    child.claim([])
    holder = child.slot.holder
    with pytest.raises(AssertionError, match="a defect"):
        house.shift(child)
    child.instrument = kept

    assert child.slot.holder == 0
    assert child.slot.note() is None
    lost = lost_holders(house.stage.connection)
    assert [loss.holder for loss in lost] == [holder]
    for loss in lost:
        house.rescuer.rescue(house.stage.connection, loss)
    house.work(child)
    assert {house.status(run) for run in runs} == {"succeeded"}


def test_a_failure_beside_a_slow_body_is_not_lost(house: House, count: Count) -> None:
    """G5: the thread that commits meanwhile has nobody to raise to; the batch raises for it."""
    pipeline = Declaration("p", input=Number)
    watcher = house.stage.session()

    @pipeline.step
    def a(input: Number) -> int:
        if input.n == 1 and count(input.n) == 1:
            query = "SELECT count(*) FROM taskplatform.step_results"
            wait_until(lambda: watcher.execute(query).fetchone() == (1,))
        return input.n

    @pipeline.step(queue="other")
    def b(input: Number) -> int:
        return input.n

    def ring(_: object) -> None:
        raise AssertionError("a defect")

    runs = house.enqueue(pipeline, 2)
    child = house.child("a", "b")
    claimed, _ = child.claim(["default"])
    with pytest.raises(AssertionError, match="a defect"):
        Batch(child, ring).execute(claimed)

    assert child.slot.holder == 0
    for loss in lost_holders(house.stage.connection):
        house.rescuer.rescue(house.stage.connection, loss)
    while claimed := child.claim(["default", "other"])[0]:
        child.remember(claimed)
        Batch(child, house.rung.append).execute(claimed)
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert not house.stage.wrong()
