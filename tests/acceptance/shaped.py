"""Pipelines of every shape, whose bodies write down every execution."""

import os
import time

from pydantic import Field

from taskplatform import Permanent, Pipeline, Retry
from tests.acceptance.ledger import Order, write


class Batch(Order):
    """How many items."""

    count: int = 0
    items: list[int] = Field(default_factory=list)


mapped = Pipeline("mapped", input=Batch)


@mapped.step
def find(input: Batch) -> list[int]:
    """Find the items."""
    return list(range(input.count))


@mapped.map(over="find")
def visit(input: Batch, item: int, index: int) -> int:
    """Write down one item, and take a moment."""
    write(input, f"visit:{item}")
    time.sleep(input.seconds)
    return item * 2


@mapped.step
def total(input: Batch, visit: list[int]) -> bool:
    """Write down that all have come, and whether they are in order."""
    write(input, "total")
    return visit == [item * 2 for item in range(input.count)]


saga = Pipeline("saga", input=Order, retry=Retry(0))


def _undo(order: Order, name: str) -> None:
    if order.do == f"die:{name}":
        once = order.ledger.with_suffix(".once")
        if not once.exists():
            once.touch()
            os.kill(os.getpid(), 9)
    write(order, name)


def undo_one(input: Order, one: int) -> None:
    """Undo the first."""
    _undo(input, "undo-1")


def undo_two(input: Order) -> None:
    """Undo the second."""
    _undo(input, "undo-2")


def undo_three(input: Order) -> None:
    """Undo the third."""
    _undo(input, "undo-3")


@saga.step(compensate=undo_one)
def one(input: Order) -> int:
    """The first of five."""
    return 1


@saga.step(compensate=undo_two)
def two(input: Order) -> int:
    """The second."""
    return 2


@saga.step(compensate=undo_three)
def three(input: Order) -> int:
    """The third."""
    return 3


@saga.step
def four(input: Order) -> int:
    """It fails for good."""
    raise Permanent("no stock")


@saga.step
def five(input: Order) -> int:
    """It is never reached."""
    write(input, "five")
    return 5


patient = Pipeline("patient", input=Order)
patient.wait("approval", event="patient.approved", match="id", timeout="3d")


@patient.step
def approved(input: Order, approval: dict[str, object] | None) -> bool:
    """Write down that it goes on."""
    write(input, "approved")
    return approval is not None


busy = Pipeline("busy", input=Order)


@busy.step
def early(input: Order) -> None:
    """Half of the work of a child."""
    write(input, "start:early")
    time.sleep(input.seconds)


@busy.step
def late(input: Order) -> None:
    """The other half."""
    write(input, "start:late")
    time.sleep(input.seconds)


wide = Pipeline("wide", input=Batch)


def _order(input: Batch) -> Order:
    return Order(ledger=input.ledger, id=input.id, seconds=20 * input.seconds)


wide.child("kid-one", busy, input=_order, group="all")
wide.child("kid-two", busy, input=_order, group="all")
wide.child("kid-three", busy, input=_order, group="all")


@wide.map(over="items", group="all")
def each(input: Batch, item: int) -> None:
    """One item."""
    write(input, "start:item")
    time.sleep(input.seconds)
