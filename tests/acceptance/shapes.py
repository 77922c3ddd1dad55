"""A pipeline with a stage of each shape, for what is shown of it."""

from pydantic import BaseModel

from taskplatform import Context, Pipeline, Retry
from tests.acceptance.ledger import Done, Order, step


class Approval(BaseModel):
    """What the event says."""

    by: str


small = Pipeline("small", input=Order)


@small.step
def only(input: Order) -> Done:
    return step(input, "only")


class Many(Order):
    """How many items."""

    many: int = 3


shaped = Pipeline("shaped", input=Many, retry=Retry(0))


def unlist(input: Many, listed: list[int]) -> None:
    step(input, "listed:compensate")


@shaped.step(compensate=unlist)
def listed(input: Many) -> list[int]:
    return list(range(input.many))


@shaped.map(over="listed", on_item_error="collect")
def each(item: int, ctx: Context) -> int:
    if item == 1:
        raise ValueError("one is none")
    ctx.logger.warning("item %s", item)
    return item * item


shaped.sleep("nap", "3d", group="rest")
shaped.wait("approval", event="order.approved", match="id", model=Approval, group="rest")


def made(input: Many) -> Order:
    return Order(ledger=input.ledger, id=input.id, do=input.do)


shaped.child("enrich", small, input=made)


@shaped.step(group="end")
def one(input: Many, approval: Approval, ctx: Context) -> str:
    ctx.progress(1, 2)
    step(input, "one")
    if input.do == "fail":
        raise RuntimeError("no")
    return approval.by


@shaped.step(group="end")
def two(enrich: Done) -> int:
    return 2
