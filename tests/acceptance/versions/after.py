"""The pipeline as deployed later: a step added before the open one, which has a new name."""

from taskplatform import Pipeline, Retry
from tests.acceptance.ledger import Done, Order, step

changing = Pipeline("changing", input=Order, retry=Retry(delays=["1h"]))


@changing.step
def first(input: Order) -> Done:
    """Stays as it is."""
    return step(input, "first")


@changing.step
def added(input: Order, first: Done) -> Done:
    """New."""
    return step(input, "added")


@changing.step
def renamed(input: Order, first: Done, added: Done) -> Done:
    """Was called second."""
    return step(input, "renamed")
