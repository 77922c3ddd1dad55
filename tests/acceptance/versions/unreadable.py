"""The pipeline as deployed by mistake: it expects what the first step never gave."""

from pydantic import BaseModel

from taskplatform import Pipeline
from tests.acceptance.ledger import Done, Order, step


class Other(BaseModel):
    """Not what is stored."""

    colour: str


changing = Pipeline("changing", input=Order)


@changing.step
def first(input: Order) -> Other:
    """Gives something else now."""
    return Other(colour="red")


@changing.step
def second(input: Order, first: Other) -> Done:
    """Needs it."""
    return step(input, "second")
