"""A map as deployed by mistake: its items are numbers now."""

from pydantic import Field

from taskplatform import Pipeline
from tests.acceptance.ledger import Order


class Numbers(Order):
    """Not what is stored."""

    parts: list[int] = Field(default_factory=list)


items = Pipeline("items", input=Numbers)


@items.map(over="parts")
def each(item: int) -> int:
    return item
