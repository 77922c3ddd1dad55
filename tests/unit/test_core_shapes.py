"""Declaring shapes (Q2, W1, W12): what steps a pipeline has, and what their bodies are given."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from taskplatform.core import registry
from taskplatform.core.context import Context
from taskplatform.core.item_error import ItemError
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.shapes import Child, Kind, Wait
from taskplatform.core.step import InvalidOutput, Step, Unreadable


class Article(BaseModel):
    article_id: str
    platforms: list[str] = []
    pages: "Annotated[list[Page], Field(max_length=100)]" = []
    tags: tuple[str, ...] = ()
    anything: list = []  # type: ignore[type-arg]


class Page(BaseModel):
    number: int


class Variation(BaseModel):
    text: str


class Approval(BaseModel):
    model_config = ConfigDict(strict=True)

    by: str
    on: date | None = None


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


@pytest.fixture
def pipeline() -> Declaration[Article]:
    return Declaration("publish", input=Article)


def write(input: Article) -> Variation:
    return Variation(text=input.article_id)


def only(pipeline: Declaration[Any]) -> Step:
    return pipeline.steps[-1]


def test_a_group_is_one_stage_of_neighbours(pipeline: Declaration[Article]) -> None:
    pipeline.step(write)
    pipeline.step(name="a", group="both")(write)
    pipeline.sleep("b", 1, group="both")
    pipeline.step(name="alone", group="one")(write)
    stages = [[step.name for step in stage] for stage in pipeline.stages]
    assert stages == [["write"], ["a", "b"], ["alone"]]
    assert [step.group for step in pipeline.steps] == [None, "both", "both", "one"]


def test_a_map_is_given_the_item_and_its_index(pipeline: Declaration[Article]) -> None:
    pipeline.step(write)

    @pipeline.map(over="platforms", max_parallel=3)
    def variation(
        item: str, index: int, write: Variation, ctx: Context, input: Article
    ) -> Variation:
        return Variation(text=f"{index}:{item}:{write.text}:{input.article_id}:{ctx.step}")

    step = only(pipeline)
    assert step.kind is Kind.MAP
    assert step.mapped is not None
    assert (step.mapped.over, step.mapped.from_input) == ("platforms", True)
    assert (step.mapped.max_parallel, step.mapped.on_item_error) == (3, "fail")
    assert step.needs == ("write",)
    results = {"write": b'{"text":"w"}'}
    value = step.call(b'{"article_id":"a"}', results, Context(step="variation[2]"), b'"x"', 2)
    assert value == Variation(text="2:x:w:a:variation[2]")
    assert step.encode(value) == b'{"text":"2:x:w:a:variation[2]"}'
    assert variation("x", 0, Variation(text="w"), Context(), Article(article_id="a"))


def test_items_that_do_not_fit_the_code_are_no_failure_of_the_body(
    pipeline: Declaration[Article],
) -> None:
    @pipeline.map(over="pages")
    def layout(item: Page) -> None: ...

    step = only(pipeline)
    with pytest.raises(Unreadable, match=r"a stored item does not fit step 'publish.layout'"):
        step.call(None, {}, Context(), b'"x"', 0)
    with pytest.raises(Unreadable, match=r"step 'publish.layout' needs an item: none is stored"):
        step.call(None, {}, Context())
    assert step.mapped is not None
    assert step.mapped.codec is not None
    assert step.mapped.codec.decode(b'{"number":3}') == Page(number=3)


def as_list(input: Article) -> list[Variation]: ...  # type: ignore[empty-body]
def as_sequence(input: Article) -> Sequence[Variation]: ...  # type: ignore[empty-body]
def as_tuple(input: Article) -> tuple[Variation, ...]: ...  # type: ignore[empty-body]
def as_annotated(input: Article) -> Annotated[list[Variation], Field(min_length=1)]: ...  # type: ignore[empty-body]


@pytest.mark.parametrize("function", [as_list, as_sequence, as_tuple, as_annotated])
def test_a_map_may_be_over_an_earlier_output(pipeline: Declaration[Article], function: Any) -> None:
    pipeline.step(name="make-plans")(function)

    @pipeline.map(over="make-plans")
    def one(item: Variation) -> int:
        return len(item.text)

    @pipeline.map(over="one", on_item_error="collect")
    def two(item: int) -> str:
        return str(item)

    @pipeline.map(over="two")
    def three(item: str | ItemError, two: list[str | ItemError]) -> None: ...

    mapped = [step.mapped for step in pipeline.steps]
    assert [one and (one.over, one.from_input) for one in mapped] == [
        None,
        ("make-plans", False),
        ("one", False),
        ("two", False),
    ]


@pytest.mark.parametrize("over", ["tags", "platforms", "anything"])
def test_a_map_may_be_over_any_list_of_the_input(pipeline: Declaration[Article], over: str) -> None:
    @pipeline.map(over=over)
    def one(item: str) -> None: ...

    assert only(pipeline).parameters == ("item",)


def test_a_map_needs_neither_its_item_nor_its_index(pipeline: Declaration[Article]) -> None:
    @pipeline.map(over="platforms")
    def count(input: Article) -> int:
        return 1

    assert only(pipeline).call(Article(article_id="a"), {}, Context(), b'"x"', 0) == 1


def takes_list(each: list[int]) -> None: ...
def takes_tuple(each: tuple[int, ...]) -> None: ...
def takes_sequence(each: Sequence[int]) -> None: ...
def takes_some(each: Annotated[list[int], Field(min_length=2)]) -> None: ...
def takes_anything(each: Any) -> None: ...


@pytest.mark.parametrize(
    "function", [takes_list, takes_tuple, takes_sequence, takes_some, takes_anything]
)
def test_the_output_of_a_map_is_a_list(pipeline: Declaration[Article], function: Any) -> None:
    @pipeline.map(over="platforms")
    def each(item: str) -> int:
        return 1

    pipeline.step(name="use")(function)
    assert only(pipeline).needs == ("each",)
    assert pipeline.steps[0].output.decode(b"[1,2]") == [1, 2]


def test_a_map_that_collects_leaves_errors_in_its_list(pipeline: Declaration[Article]) -> None:
    @pipeline.map(over="platforms", on_item_error="collect")
    def each(item: str) -> Variation: ...  # type: ignore[empty-body]

    @pipeline.step
    def use(each: list[Variation | ItemError]) -> list[str]:
        return [type(one).__name__ for one in each]

    stored = b'[{"text":"x"},{"index":1,"type":"ValueError","message":"no"}]'
    assert only(pipeline).call(None, {"each": stored}, Context()) == ["Variation", "ItemError"]
    assert pipeline.steps[0].output.decode(stored)[1] == ItemError(
        index=1, type="ValueError", message="no"
    )


def test_a_sleep_has_a_duration_and_no_output(pipeline: Declaration[Article]) -> None:
    pipeline.sleep("cool-down", "3d")

    @pipeline.step
    def after(cool_down: None) -> None: ...

    sleep = pipeline.steps[0]
    assert (sleep.kind, sleep.sleep, sleep.has_body) == (Kind.SLEEP, 3 * 86400.0, False)
    assert sleep.encode(None) == b"null"
    assert sleep.call(None, {}, Context()) is None


def test_a_wait_says_which_event_and_reads_its_data(pipeline: Declaration[Article]) -> None:
    pipeline.wait("approval", event="article.approved", match="article_id", model=Approval)

    @pipeline.step
    def publish(approval: Approval) -> str:
        return approval.by

    wait = pipeline.steps[0]
    assert (wait.kind, wait.has_body) == (Kind.WAIT, False)
    assert wait.wait == Wait("article.approved", "article_id", None, "none")
    assert wait.encode({"by": "me", "on": "2026-01-02", "more": 1}) == (
        b'{"by":"me","on":"2026-01-02"}'
    )
    assert wait.encode(b'{"by":"me"}') == b'{"by":"me","on":null}'
    with pytest.raises(InvalidOutput, match=r"'publish\.approval': by: Field required"):
        wait.encode({"from": "secret"})
    with pytest.raises(InvalidOutput):
        wait.encode(None)


def test_a_wait_that_may_time_out_may_be_none(pipeline: Declaration[Article]) -> None:
    pipeline.wait("approval", event="ok", timeout="7d", model=Approval)
    pipeline.wait("sure", event="ok", timeout="7d", model=Approval, on_timeout="fail")

    @pipeline.step
    def publish(approval: Approval | None, sure: Approval) -> None: ...

    approval, sure = pipeline.steps[:2]
    assert approval.wait is not None
    assert approval.wait.timeout == 7 * 86400.0
    assert approval.encode(None) == b"null"
    with pytest.raises(InvalidOutput):
        sure.encode(None)


def test_a_wait_without_a_model_takes_any_data(pipeline: Declaration[Article]) -> None:
    pipeline.wait("approval", event="ok", match=lambda input: ("id", input.article_id))

    @pipeline.step
    def publish(approval: dict[str, Any]) -> None: ...

    assert pipeline.steps[0].encode({"a": [1, None]}) == b'{"a":[1,null]}'


def test_a_child_is_given_what_its_function_makes(pipeline: Declaration[Article]) -> None:
    other = Declaration("other", input=Page)

    @other.step
    def print_it(input: Page) -> Variation: ...  # type: ignore[empty-body]

    def to_page(write: Variation) -> Page:
        return Page(number=len(write.text))

    def to_dict(input: Article) -> dict[str, Any]:
        return {"number": 1}

    pipeline.step(write)
    pipeline.child("page", other, input=to_page)
    pipeline.child("again", other, input=to_dict, retry=Retry(2), group="g")

    @pipeline.step
    def use(page: Variation, again: dict[str, str]) -> None: ...

    _, page, again, _ = pipeline.steps
    assert (page.kind, page.child, page.has_body) == (Kind.CHILD, Child(other), True)
    assert (page.retry, again.retry) == (Retry(0), Retry(2))
    assert (page.group, again.group) == (None, "g")
    assert page.encode(page.call(None, {"write": b'{"text":"ab"}'}, Context())) == b'{"number":2}'
    assert again.encode(again.call(None, {}, Context())) == b'{"number":1}'
    assert page.output.decode(b'{"text":"x"}') == Variation(text="x")


def test_what_a_child_gives_is_read_as_its_last_step_gives_it() -> None:
    """Also if that is a child, a map, a group, or comes back to where it began."""
    two, three = (Declaration(name, input=Page) for name in ("two", "three"))

    def same(input: Page) -> Page:
        return input

    two.step(name="a", group="g")(same)
    two.step(name="b", group="g")(same)
    three.child("group", two, input=same)
    assert three.steps[0].output.decode(b'{"a":{"number":1}}') == {"a": {"number": 1}}

    list_of = Declaration("list-of", input=Article)

    @list_of.map(over="platforms")
    def length(item: str) -> Page: ...  # type: ignore[empty-body]

    outer, outermost = (Declaration(name, input=Article) for name in ("outer", "outermost"))

    def article(input: Article) -> Article:
        return input

    outer.child("inner", list_of, input=article)
    outermost.child("inner", outer, input=article)
    assert outermost.steps[0].output.decode(b'[{"number":1}]') == [Page(number=1)]

    here, there = (Declaration(name, input=Page) for name in ("here", "there"))
    here.child("go", there, input=same)
    there.child("back", here, input=same)
    assert here.steps[0].output.decode(b"[1]") == [1]


def test_a_compensation_is_a_step_beside_the_others() -> None:
    pipeline = Declaration("order", input=Article, retry=Retry(1), timeout="7s", queue="slow")

    def refund(input: Article, write: Variation, charge: str, ctx: Context) -> None: ...

    pipeline.step(write)

    @pipeline.step(compensate=refund, queue="money", retry=Retry(9), timeout="1s")
    def charge(input: Article) -> str:
        return "receipt"

    assert [step.name for step in pipeline.steps] == ["write", "charge"]
    undo = pipeline.find("charge:compensate")
    assert undo is not None
    assert undo is pipeline.steps[1].compensation
    assert undo.task_name == "order.charge:compensate"
    assert (undo.kind, undo.has_body, undo.compensation) == (Kind.BODY, True, None)
    assert (undo.retry, undo.timeout, undo.queue) == (Retry(1), 7.0, "money")
    assert undo.needs == ("write", "charge")
    results = {"write": b'{"text":"x"}', "charge": b'"r"'}
    assert undo.call(Article(article_id="a"), results, Context()) is None
    assert undo.encode(None) == b"null"


def test_the_compensation_of_a_map_is_given_the_whole_list(
    pipeline: Declaration[Article],
) -> None:
    def take_back(post: list[int]) -> None: ...

    @pipeline.map(over="platforms", compensate=take_back)
    def post(item: str) -> int:
        return 1

    undo = only(pipeline).compensation
    assert undo is not None
    assert undo.bind(None, {"post": b"[1,2]"}, Context()) == {"post": [1, 2]}


def test_what_else_a_step_can_be_told(pipeline: Declaration[Article]) -> None:
    pipeline.step(transactional=True, heartbeat="30s")(write)
    step = only(pipeline)
    assert (step.transactional, step.heartbeat) == (True, 30.0)
    limited = Declaration("limited", input=Article, queue_timeout="10m")
    assert (limited.queue_timeout, pipeline.queue_timeout) == (600.0, None)
