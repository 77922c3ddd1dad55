"""What old workers execute while new ones are up, too."""

from taskplatform import Pipeline
from tests.acceptance.ledger import Done, step
from tests.acceptance.versions.parts import Parts

shared = Pipeline("shared", input=Parts)


@shared.step
def first(input: Parts) -> Done:
    return step(input, "first")


@shared.map(over="parts")
def each(item: str, index: int, input: Parts, first: Done) -> str:
    step(input, f"each[{index}]")
    return item


@shared.step
def last(input: Parts, each: list[str]) -> Done:
    return step(input, "last")


old_only = Pipeline("old-only", input=Parts)


@old_only.step
def by_old(input: Parts) -> Done:
    return step(input, "by-old")
