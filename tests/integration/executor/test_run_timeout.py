"""A run whose own time is over fails, also while it waits for something much later."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from taskplatform.core.breaker import Breaker
from taskplatform.core.ids import uuid7
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.storage import breaker_lines, breakers
from taskplatform.storage.clock import advance
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from tests.integration.executor.house import House, Number

Shape = Callable[[Declaration[Number]], None]


def sleeps(pipeline: Declaration[Number]) -> None:
    pipeline.sleep("nap", "3d")


def waits_for_an_event(pipeline: Declaration[Number]) -> None:
    pipeline.wait("approval", event="approved")


def waits_for_a_child(pipeline: Declaration[Number]) -> None:
    other = Declaration("other", input=Number)
    other.sleep("nap", "3d")

    def made(input: Number) -> Number:
        return input

    pipeline.child("other", other, input=made)


def waits_for_a_group(pipeline: Declaration[Number]) -> None:
    pipeline.sleep("one", "3d", group="g")
    pipeline.sleep("two", "4d", group="g")


def waits_for_a_retry(pipeline: Declaration[Number]) -> None:
    @pipeline.step(retry=Retry(delays=["3d"]))
    def fails(input: Number) -> int:
        raise ValueError


SHAPES = [
    sleeps,
    waits_for_an_event,
    waits_for_a_child,
    waits_for_a_group,
    waits_for_a_retry,
]


def started(house: House, shape: Shape) -> UUID:
    """A run with a minute of its own, as far as it goes."""
    pipeline = Declaration("p", input=Number, run_timeout="1m")
    shape(pipeline)

    @pipeline.step
    def last(input: Number) -> int:
        return 1

    run = asked(house, pipeline)
    house.work(house.child())
    assert house.status(run) == "waiting"
    return run


def asked(house: House, pipeline: Declaration[Number]) -> UUID:
    """A run that is ready."""
    row = NewRun(
        id=uuid7(),
        pipeline="p",
        first_step=pipeline.steps[0].name,
        queue="default",
        input=b'{"n": 0}',
        run_timeout=pipeline.run_timeout,
    )
    (made,) = enqueue(house.stage.connection, [row])
    return made.id


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_that_waits_ends_at_its_own_deadline(house: House, shape: Shape) -> None:
    """W15: nothing has to come to the run for that: it is due then."""
    run = started(house, shape)

    advance(house.stage.connection, 59)
    release_due(house.stage.connection)
    house.work(house.child())
    assert house.status(run) == "waiting"

    advance(house.stage.connection, 2)
    for _ in range(3):
        release_due(house.stage.connection)
        house.work(house.child())
    assert ended(house, run) == ("failed", "RunTimeLimitExceeded")


def test_what_an_open_breaker_sets_aside_ends_at_its_own_deadline(house: House) -> None:
    """W14, W15: the breaker is open for longer, and nobody else would look at the run."""
    pipeline = Declaration("p", input=Number, run_timeout="1m")

    @pipeline.step(breaker=Breaker("api"))
    def calls(input: Number) -> int:
        raise AssertionError

    ask = house.stage.connection
    house.stage.serve("default", "p")
    breakers.open_by_hand(ask, "api", None, "by hand")
    run = asked(house, pipeline)
    assert breaker_lines.set_aside(ask, "api", "breaker api: open", ["p.calls"], ["default"]) == 1
    assert house.status(run) == "waiting"

    advance(ask, 59)
    assert release_due(ask) == {}

    advance(ask, 2)
    assert release_due(ask) == {"default": 1}
    house.work(house.child())
    assert ended(house, run) == ("failed", "RunTimeLimitExceeded")


def ended(house: House, run: UUID) -> tuple[str, Any]:
    """How a run has ended, and of what."""
    error: Any = house.stage.value(
        "SELECT error ->> 'type' FROM taskplatform.runs WHERE id = %s", run
    )
    return house.status(run), error
