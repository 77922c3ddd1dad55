"""W12: events are checked where they are sent, stored once, and start their handlers."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import BaseModel

from taskplatform import Event, Pipeline, list_runs, on, send_event
from taskplatform.core import registry
from taskplatform.endpoints import database_url
from taskplatform.errors import InvalidInput
from tests.integration.door.conftest import Order


class Paid(BaseModel):
    number: str
    cents: int


class Noted(BaseModel):
    number: str
    note: str


@pytest.fixture(autouse=True)
def _waits(orders: object) -> Iterator[None]:
    """Two pipelines wait for one event, with different data."""
    registry.clear()
    for name, model in (("bill", Paid), ("diary", Noted)):
        pipeline = Pipeline(name, input=Order)
        pipeline.wait("answer", event="order.answered", match="number", model=model)
    yield
    registry.clear()


def stored() -> list[UUID]:
    with psycopg.connect(database_url()) as connection:
        rows = connection.execute("SELECT id FROM taskplatform.events ORDER BY id")
        return [row[0] for row in rows]


def test_an_event_that_fits_one_of_its_waits_is_sent() -> None:
    id = send_event("order.answered", Paid(number="1", cents=5))
    assert stored() == [id]


def test_an_event_that_fits_none_is_refused_and_not_stored() -> None:
    with pytest.raises(InvalidInput, match=r"(?s)bill\.answer.*cents.*diary\.answer.*note"):
        send_event("order.answered", {"number": "1"})
    assert stored() == []


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("order answered", {}, "no spaces"),
        ("e", "[1]", "invalid"),
        ("e", "{", "invalid"),
        ("e", {"n": float("nan")}, "invalid"),
        ("e", {"text": "\0"}, "U.0000"),
        ("e", {f"f{n}": n for n in range(201)}, "200 fields"),
    ],
)
def test_bad_events_are_refused_with_a_reason(name: str, data: object, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        send_event(name, data)  # type: ignore[arg-type]
    assert stored() == []


def test_an_id_is_used_once_and_has_to_be_one() -> None:
    id = uuid4()
    assert send_event("e", {"n": 1}, id=id) == send_event("e", {"n": 2}, id=str(id)) == id
    assert stored() == [id]
    with pytest.raises(InvalidInput, match="give a UUID"):
        send_event("e", id="first")


def test_an_event_starts_its_handlers_once() -> None:
    @on("order.shipped")
    def tell(event: Event) -> None: ...

    id = send_event("order.shipped", {"number": "7"})
    send_event("order.shipped", {"number": "7"}, id=id)
    (run,) = list_runs(handlers=True)
    assert run.pipeline == "on:order.shipped:tell"
