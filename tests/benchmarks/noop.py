"""The platform's side: five typed steps that do nothing, and one."""

from pydantic import BaseModel

from taskplatform import Pipeline
from tests.benchmarks.marks import mark


class Number(BaseModel):
    """Which run it is, from 0."""

    number: int


five = Pipeline("noop-five", input=Number)
single = Pipeline("noop-one", input=Number)


@five.step
def first(input: Number) -> Number:
    mark(input.number, 0)
    return input


@five.step
def second(first: Number) -> Number:
    mark(first.number, 1)
    return first


@five.step
def third(second: Number) -> Number:
    mark(second.number, 2)
    return second


@five.step
def fourth(third: Number) -> Number:
    mark(third.number, 3)
    return third


@five.step
def fifth(fourth: Number) -> Number:
    mark(fourth.number, 4)
    return fourth


@single.step
def only(input: Number) -> Number:
    mark(input.number, 0)
    return input
