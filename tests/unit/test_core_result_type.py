"""What a pipeline declares as its output is what its last stage gives."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from taskplatform.client.pipeline import Pipeline
from taskplatform.core import registry
from taskplatform.errors import DeclarationError


class In(BaseModel):
    numbers: list[int] = []


class Price(BaseModel):
    total: int


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


def test_another_type_than_the_last_steps_is_an_error() -> None:
    pipeline = Pipeline("p", input=In, output=Price)

    @pipeline.step
    def price(input: In) -> Price:
        return Price(total=1)

    @pipeline.step
    def last(price: Price) -> int:
        return price.total

    with pytest.raises(DeclarationError, match=r"output=Price, but its last step 'last' gives int"):
        pipeline.finalize()


@pytest.mark.parametrize("output", [Price, None])
def test_the_type_of_the_last_step_is_right(output: Any) -> None:
    pipeline = Pipeline("p", input=In, output=output)

    @pipeline.step
    async def price(input: In) -> Price:
        return Price(total=1)

    pipeline.finalize()


def test_a_maps_output_is_a_list() -> None:
    right = Pipeline("right", input=In, output=list[Price])
    wrong = Pipeline("wrong", input=In, output=Price)

    def price(item: int) -> Price:
        return Price(total=item)

    for pipeline in (right, wrong):
        pipeline.map(over="numbers")(price)

    right.finalize()
    with pytest.raises(DeclarationError, match=r"gives list\[.*Price\]"):
        wrong.finalize()


def test_a_groups_output_is_an_object() -> None:
    right = Pipeline("right", input=In, output=dict[str, Any])
    wrong = Pipeline("wrong", input=In, output=Price)

    def one(input: In) -> Price:
        return Price(total=1)

    def other(input: In) -> Price:
        return Price(total=2)

    for pipeline in (right, wrong):
        pipeline.step(group="both")(one)
        pipeline.step(group="both")(other)

    right.finalize()
    with pytest.raises(DeclarationError, match="the group 'both'"):
        wrong.finalize()


def test_a_childs_output_is_what_its_pipeline_declares() -> None:
    child = Pipeline("child", input=In, output=Price)
    right = Pipeline("right", input=In, output=Price)
    wrong = Pipeline("wrong", input=In, output=int)

    @child.step
    def price(input: In) -> Price:
        return Price(total=1)

    def made(input: In) -> In:
        return input

    for pipeline in (right, wrong):
        pipeline.child("sub", child, input=made)

    right.finalize()
    with pytest.raises(DeclarationError, match="gives Price"):
        wrong.finalize()
