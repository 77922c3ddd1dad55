"""The pipeline with the mistake, deployed with a version: its first step makes what is needed."""

from taskplatform import Pipeline
from tests.acceptance.ledger import Done, Order, step
from tests.acceptance.versions.colour import Other

changing = Pipeline("changing", input=Order)


@changing.step(version=2)
def first(input: Order) -> Other:
    """Is executed again."""
    step(input, "first")
    return Other(colour="red")


@changing.step
def second(input: Order, first: Other) -> Done:
    """Needs it."""
    return step(input, "second")
