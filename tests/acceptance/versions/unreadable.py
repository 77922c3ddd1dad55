"""The pipeline as deployed by mistake: it expects what the first step never gave."""

from taskplatform import Pipeline
from tests.acceptance.ledger import Done, Order, step
from tests.acceptance.versions.colour import Other

changing = Pipeline("changing", input=Order)


@changing.step
def first(input: Order) -> Other:
    """Gives something else now."""
    return Other(colour="red")


@changing.step
def second(input: Order, first: Other) -> Done:
    """Needs it."""
    return step(input, "second")
