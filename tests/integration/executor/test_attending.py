"""A shift that finds work as soon as it has done some attends, and is not rung meanwhile (W22)."""

from collections.abc import Iterator
from contextlib import closing
from time import monotonic

import pytest

from taskplatform.celery import shift
from taskplatform.celery.address import Address
from taskplatform.celery.bell import Bell
from taskplatform.celery.shift import Shift
from taskplatform.core.pipeline import Declaration
from taskplatform.executor.child import Child
from taskplatform.executor.costs import Costs
from tests.integration.executor.house import House, Number

QUEUE = "default"


@pytest.fixture
def bell(broker_url: str) -> Iterator[Bell]:
    with closing(Bell(Address(broker_url))) as made:
        yield made


@pytest.fixture
def shift_bell(broker_url: str) -> Iterator[Bell]:
    with closing(Bell(Address(broker_url))) as made:
        yield made


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "ATTENDS", 60.0)
    # These bodies ask servers, and would soon be known to be long.
    monkeypatch.setattr(Costs, "observe", lambda *_: None)


def work(child: Child, bell: Bell) -> None:
    Shift(child, [QUEUE], bell, 0.3).work(monotonic() + 20)


def test_in_a_stream_only_the_first_ring_wakes_anybody(
    house: House, bell: Bell, shift_bell: Bell
) -> None:
    """Each run is enqueued while the one before it executes."""
    attended: list[bool] = []
    stream = Declaration("p", input=Number)

    @stream.step
    def quick(input: Number) -> None:
        if input.n == 0 and len(attended) < 5:
            house.enqueue(stream)
            attended.append(bell.ring({QUEUE: 1}))

    runs = house.enqueue(stream)
    work(house.child("quick"), shift_bell)

    assert attended == [False, True, True, True, True]
    assert house.status(runs[0]) == "succeeded"
    assert not house.child().ready([QUEUE])
    # Its shift has ended: the next ring is for others.
    assert bell.ring({QUEUE: 1}) is False


def test_nobody_counts_on_one_that_begins_something_long(
    house: House, bell: Bell, shift_bell: Bell
) -> None:
    """G5: what is enqueued during a long body is somebody else's at once."""
    attended: list[bool] = []
    stream, other = Declaration("p", input=Number), Declaration("q", input=Number)

    @stream.step
    def quick(input: Number) -> None:
        attended.append(bell.ring({QUEUE: 1}))
        house.enqueue(stream if len(attended) < 3 else other)

    @other.step
    def of_unknown_length(input: Number) -> None:
        attended.append(bell.ring({QUEUE: 1}))

    house.enqueue(stream)
    work(house.child("quick"), shift_bell)

    assert attended == [False, True, True, False]
