"""Every body is a registered Celery task (C3); what has none is not."""

from collections.abc import Iterator

import pytest
from celery import Celery
from pydantic import BaseModel

from taskplatform.celery.steps import register_steps
from taskplatform.core import registry
from taskplatform.core.pipeline import Declaration


class Order(BaseModel):
    lines: list[str] = []


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


def charge(input: Order) -> None: ...
def refund(input: Order) -> None: ...
def pack(item: str) -> None: ...
def make(input: Order) -> Order: ...  # type: ignore[empty-body]


def test_bodies_are_tasks_and_so_are_compensations() -> None:
    other = Declaration("other", input=Order)
    other.step(charge)
    pipeline = Declaration("order", input=Order)
    pipeline.step(compensate=refund)(charge)
    pipeline.map(over="lines")(pack)
    pipeline.sleep("rest", "1d")
    pipeline.wait("paid", event="order.paid")
    pipeline.child("invoice", other, input=make)
    app = Celery(set_as_current=False)
    # Celery's own tasks, and those that other modules share with every app.
    before = set(app.tasks)
    register_steps(app)
    register_steps(app)
    assert set(app.tasks) - before == {
        "other.charge",
        "order.charge",
        "order.charge:compensate",
        "order.pack",
        "order.invoice",
    }
