"""One pipeline with every shape in it, whose bodies write down every execution."""

import time

from taskplatform import Permanent, Pipeline, Retry
from tests.acceptance.ledger import Order, write
from tests.acceptance.shaped import Batch

kid = Pipeline("kid", input=Order)


@kid.step
def help_out(input: Order) -> str:
    """The child's first."""
    write(input, "help-out")
    time.sleep(input.seconds)
    return input.id


@kid.step
def tidy_up(input: Order, help_out: str) -> str:
    """The child's last."""
    write(input, "tidy-up")
    return help_out


storm = Pipeline("storm", input=Batch, retry=Retry(0))


def undo_begin(input: Batch) -> None:
    """Undo the first."""
    write(input, "undo-begin")


def undo_joined(input: Batch) -> None:
    """Undo what followed the join."""
    write(input, "undo-joined")


def undo_pick(input: Batch) -> None:
    """Undo all items."""
    write(input, "undo-pick")


@storm.step(compensate=undo_begin)
def begin(input: Batch) -> None:
    """The first."""
    write(input, "begin")


@storm.map(over="items", max_parallel=4, group="all", compensate=undo_pick)
def pick(input: Batch, item: int) -> int:
    """One item."""
    write(input, f"pick:{item}")
    time.sleep(input.seconds)
    return item * 2


storm.wait("approval", event="storm.approved", match="id", group="all")
storm.sleep("nap", "1s", group="all")


def _order(input: Batch) -> Order:
    return Order(ledger=input.ledger, id=f"{input.id}-kid", seconds=input.seconds)


storm.child("help", kid, input=_order, group="all")


@storm.step(compensate=undo_joined)
def joined(input: Batch, pick: list[int], approval: dict[str, object], help: str) -> bool:
    """Write down that all have come; whether they are what they should be."""
    write(input, "joined")
    right = pick == [item * 2 for item in input.items] and approval["id"] == input.id
    return right and help == f"{input.id}-kid"


@storm.step
def end(input: Batch, joined: bool) -> bool:
    """Fail for good if the order says so."""
    write(input, "end")
    if input.do == "fail":
        raise Permanent("no stock")
    return joined
