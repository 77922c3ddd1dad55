"""Debounce at the front door: one run of a burst, on its last input."""

from collections.abc import Iterator

import pytest

from taskplatform import Debounce, Pipeline, enqueue_many
from taskplatform.core import registry
from taskplatform.storage import clock
from taskplatform.storage.dispatch import release_due
from tests.integration.door.conftest import Order


@pytest.fixture
def bursts(orders):
    pipeline = Pipeline("bursts", input=Order, key="number", debounce=Debounce("10s", max_wait="25s"))

    @pipeline.step
    def check(input: Order) -> int:
        return input.amount

    return pipeline


def test_one(bursts, connection, worker):
    a = bursts.enqueue(Order(number="a", amount=1))
    assert a.status == "scheduled"
    b = bursts.enqueue(Order(number="a", amount=2))
    c = bursts.enqueue(Order(number="b", amount=2))
    assert a.id == b.id != c.id
    assert a.view().input["amount"] == 2
    many = enqueue_many(bursts, [Order(number="a", amount=i) for i in range(3)] + [Order(number="c")])
    assert [one.id for one in many][:3] == [a.id]*3
    assert a.view().input["amount"] == 2
    clock.advance(connection, 8)
    print(a.refresh())
    bursts.enqueue(Order(number="a", amount=7))
    clock.advance(connection, 8)
    bursts.enqueue(Order(number="a", amount=8)); print(a.refresh())
    clock.advance(connection, 8)
    bursts.enqueue(Order(number="a", amount=9)); print(a.refresh(), a.view().created_at)
    clock.advance(connection, 2)
    print(release_due(connection))
    one = worker.claim(a.id)
    assert b'"amount":9' in one.input
    d = bursts.enqueue(Order(number="a", amount=10))
    assert d.id != a.id
    assert bursts.enqueue(Order(number="a", amount=11)).id == d.id
    with connection.transaction():
        e = bursts.enqueue(Order(number="a", amount=12), connection=connection)
        f = bursts.enqueue(Order(number="z", amount=12), connection=connection)
    assert e.id == d.id
    assert d.view().input["amount"] == 12
