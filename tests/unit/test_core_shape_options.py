"""Names and options of shapes (F40): a wrong one is an error when declared."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import DeclarationError


class Article(BaseModel):
    article_id: str
    platforms: list[str] = []
    maybe: list[str] | None = None
    pair: tuple[int, int] = (1, 2)
    words: set[str] = set()


class Page(BaseModel):
    number: int


class Approval(BaseModel):
    by: str


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


@pytest.fixture
def pipeline() -> Declaration[Article]:
    return Declaration("publish", input=Article)


def write(input: Article) -> Page: ...  # type: ignore[empty-body]
async def write_async(input: Article) -> Page: ...  # type: ignore[empty-body]
def each(item: str) -> int: ...  # type: ignore[empty-body]
def lines(input: Article) -> list[Page]: ...  # type: ignore[empty-body]
def unresolved(input: Article) -> "Missing": ...  # type: ignore[name-defined]  # noqa: F821


def wrong(pipeline: Declaration[Any]) -> str:
    with pytest.raises(DeclarationError) as caught:
        pipeline.finalize()
    return str(caught.value)


Declare = Callable[[Declaration[Article]], object]


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda p: p.step(name="x", group="A b")(write), "group='A b': a name has small letters"),
        (lambda p: p.step(name="x", compensate="undo")(write), "compensate='undo': give a funct"),
        (lambda p: p.step(name="x", heartbeat=0)(write), "heartbeat=0: give a duration above"),
        (lambda p: p.step(name="x", heartbeat="soon")(write), "heartbeat: 'soon' is no duration"),
        (lambda p: p.step(name="x", transactional=True)(write_async), "use a plain def"),
        (lambda p: p.map(name="x", over="platforms", transactional=True)(each), "a plain step"),
        (lambda p: p.map(name="x", over="platforms", max_parallel=0)(each), "max_parallel=0: give"),
        (lambda p: p.map(name="x", over="platforms", max_parallel=True)(each), "max_parallel=True"),
        (lambda p: p.map(name="x", over="platforms", max_parallel=1.5)(each), "a whole number"),
        (lambda p: p.map(name="x", over="platforms", on_item_error="skip")(each), "or 'collect'"),
        (lambda p: p.sleep("x", 0), "duration=0: give a duration above zero"),
        (lambda p: p.sleep("x", "long"), "duration: 'long' is no duration"),
        (lambda p: p.sleep("x", 1, group=3), "group=3"),
        (lambda p: p.wait("x", event="a b"), "event='a b': a name has no white space"),
        (lambda p: p.wait("x", event=""), "event=''"),
        (lambda p: p.wait("x", event="e" * 151), "at most 150 characters"),
        (lambda p: p.wait("x", event="e", timeout=0), "timeout=0: give a duration above zero"),
        (lambda p: p.wait("x", event="e", on_timeout="go"), "'fail' (the run fails)"),
        (lambda p: p.wait("x", event="e", model=dict), "derived from pydantic.BaseModel"),
        (lambda p: p.wait("x", event="e", model="Approval"), "derived from pydantic.BaseModel"),
        (lambda p: p.child("x", "other", input=write), "'other' is no pipeline: give the pipelin"),
        (lambda p: p.child("x", p, input=write), "a pipeline cannot be its own child"),
        (lambda p: p.child("x", other(), input=Article), "input=<class"),
        (lambda p: p.child("x", other(), input=write, retry=3), "retry=3: give Retry(3)"),
    ],
)
def test_a_wrong_option_is_an_error_when_it_is_declared(
    pipeline: Declaration[Article], declare: Declare, says: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare(pipeline)
    assert str(caught.value).startswith("pipeline 'publish', step 'x': ")
    assert says in str(caught.value)
    pipeline.step(write)
    assert [step.name for step in pipeline.steps] == ["write"]


def other() -> Declaration[Page]:
    registry.clear()
    return Declaration("other", input=Page)


@pytest.mark.parametrize(
    "declare",
    [
        lambda p, name: p.sleep(name, 1),
        lambda p, name: p.wait(name, event="e"),
        lambda p, name: p.child(name, other(), input=write),
        lambda p, name: p.map(over="platforms", name=name)(each),
    ],
)
def test_every_shape_has_a_name_of_its_own(pipeline: Declaration[Article], declare: Any) -> None:
    pipeline.step(name="one")(write)
    for name, says in [
        ("one", "declared twice"),
        ("A", "small letters"),
        ("input", "reserved parameter"),
        (3, "small letters"),
    ]:
        with pytest.raises(DeclarationError, match=says):
            declare(pipeline, name)
    pipeline.finalize()
    with pytest.raises(DeclarationError, match="'late': it is added after"):
        declare(pipeline, "late")


@pytest.mark.parametrize("value", [0, "never", -1])
def test_a_queue_timeout_is_above_zero(value: Any) -> None:
    with pytest.raises(DeclarationError, match="queue_timeout"):
        Declaration("p", input=Article, queue_timeout=value)
