"""What new workers execute while old ones are up: a step more, in a group, and other bounds."""

from taskplatform import Pipeline
from tests.acceptance.ledger import Done, step
from tests.acceptance.versions.parts import Parts

shared = Pipeline("shared", input=Parts)


@shared.step(group="begin")
def first(input: Parts) -> Done:
    return step(input, "first")


@shared.step(group="begin")
def beside(input: Parts) -> Done:
    return step(input, "beside")


@shared.map(over="parts", max_parallel=1)
def each(item: str, index: int, input: Parts, first: Done) -> str:
    step(input, f"each[{index}]")
    return item


@shared.step
def last(input: Parts, each: list[str]) -> Done:
    return step(input, "last")


new_only = Pipeline("new-only", input=Parts)


@new_only.step
def by_new(input: Parts) -> Done:
    return step(input, "by-new")
