"""Wrong shapes (F40): every mistake is an error that names its place and its remedy."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field

from taskplatform.core import registry
from taskplatform.core.context import Context
from taskplatform.core.item_error import ItemError
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import DeclarationError


class Article(BaseModel):
    article_id: str
    platforms: list[str] = []
    maybe: list[str] | None = None
    pair: tuple[int, int] = (1, 2)
    words: set[str] = set()
    secret: list[str] = Field(default=[], exclude=True)


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


def other() -> Declaration[Page]:
    registry.clear()
    return Declaration("other", input=Page)


def other_item(item: int) -> None: ...
def item_of_lines(item: str) -> None: ...
def text_index(index: str) -> None: ...
def any_index(index) -> None: ...  # type: ignore[no-untyped-def]
def no_item_type(item) -> None: ...  # type: ignore[no-untyped-def]
def item_and_more(item: str, wrte: Page) -> None: ...
def generator(item: str) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("over", "function", "says"),
    [
        (
            "platform",
            each,
            "neither a field of Article (article_id, platforms, maybe,",
        ),
        ("platform", each, "nor an earlier step (lines); did you mean 'platforms'?"),
        ("line", each, "did you mean 'lines'?"),
        ("last", each, "over='last' is the output of step 'last', which is declared later"),
        ("broken", each, "over='broken' is the step's own output"),
        (3, each, "over=3: give the name of a field of the input or of an earlier step"),
        ("article_id", each, "over='article_id': a field of Article, annotated str, is no list"),
        ("maybe", each, "is no list: annotate it 'list[...]'"),
        ("pair", each, "is no list"),
        ("words", each, "is no list"),
        ("secret", each, "over='secret' is a field that is not stored: remove its exclude=True"),
        ("platforms", other_item, "'item' is annotated int, but the items of 'platforms' are str"),
        ("lines", item_of_lines, "'item' is annotated str, but the items of 'lines' are Page"),
        ("platforms", text_index, "annotate it 'index: int'"),
        ("platforms", any_index, "parameter 'index' has no annotation"),
        ("platforms", no_item_type, "parameter 'item' has no annotation"),
        ("platforms", item_and_more, "parameter 'wrte' is neither"),
        ("platforms", generator, "it is a generator"),
    ],
)
def test_a_wrong_map_is_an_error_that_names_the_remedy(
    pipeline: Declaration[Article], over: Any, function: Any, says: str
) -> None:
    pipeline.step(lines)
    pipeline.map(over=over, name="broken")(function)
    pipeline.step(name="last")(write)
    message = wrong(pipeline)
    assert message.startswith("pipeline 'publish', step 'broken': ")
    assert says in message
    assert "\n" not in message


def test_a_map_over_what_is_a_field_and_a_step_has_to_say_which(
    pipeline: Declaration[Article],
) -> None:
    pipeline.step(name="platforms")(lines)
    pipeline.map(over="platforms")(each)
    assert wrong(pipeline) == (
        "pipeline 'publish', step 'each': over='platforms' is a field of Article and the name of "
        "a step: rename the step"
    )


def test_a_map_is_not_over_a_step_without_a_list(pipeline: Declaration[Article]) -> None:
    pipeline.step(write)
    pipeline.sleep("rest", 1)
    pipeline.wait("approval", event="e", model=Approval)
    for over in ("write", "rest", "approval"):
        pipeline.map(over=over, name=f"over-{over}")(each)
    lines = wrong(pipeline).splitlines()
    assert [line.partition(": ")[2].partition(", is")[0] for line in lines] == [
        "over='write': the output of that step, annotated Page",
        "over='rest': the output of that step, annotated NoneType",
        "over='approval': the output of that step, annotated Approval",
    ]


def test_a_mistake_in_a_step_is_not_told_again_by_the_map_over_it(
    pipeline: Declaration[Article],
) -> None:
    pipeline.step(unresolved)
    pipeline.map(over="unresolved")(each)
    assert len(wrong(pipeline).splitlines()) == 1


def takes_item(item: str) -> Page: ...  # type: ignore[empty-body]


def test_only_a_map_has_items(pipeline: Declaration[Article]) -> None:
    def undo(item: str) -> None: ...

    pipeline.step(name="one")(each)
    pipeline.map(over="platforms", name="two", compensate=undo)(each)
    pipeline.child("three", other(), input=takes_item)
    lines = wrong(pipeline).splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == [
        "pipeline 'publish', step 'one'",
        "pipeline 'publish', step 'two:compensate'",
        "pipeline 'publish', step 'three'",
    ]
    assert all("reserved for steps that are mapped over items: rename" in one for one in lines[:3])


def not_none(value: Any) -> Any:
    return value.by and value


def takes_one(each: int) -> None: ...
def takes_model(each: Page) -> None: ...
def takes_no_errors(collected: list[int]) -> None: ...
def takes_number(rest: int) -> None: ...
def takes_approval(approval: Approval) -> None: ...
def takes_dict(free: dict[str, Any]) -> None: ...
def takes_checked(approval: Annotated[Any, AfterValidator(not_none)]) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (takes_one, "parameter 'each' is the list of a map's outputs: annotate it 'list[int]'"),
        (takes_model, "annotate it 'list[Page]'"),
        (takes_no_errors, "'collected' is a list in which on_item_error='collect' may leave err"),
        (takes_no_errors, "annotate it 'list[... | ItemError]'"),
        (takes_number, "parameter 'rest' is a sleep, which has no output: annotate it None"),
        (takes_approval, "parameter 'approval' is a wait that may time out: annotate it 'Approval"),
        (takes_approval, "'Approval | None', or give the wait on_timeout='fail'"),
        (takes_dict, "annotate it 'dict[str, typing.Any] | None'"),
        (takes_checked, "is a wait that may time out"),
    ],
)
def test_an_annotation_that_cannot_take_the_output_is_an_error(
    pipeline: Declaration[Article], function: Any, says: str
) -> None:
    """Otherwise a run would park for it, perhaps after weeks."""
    pipeline.map(over="platforms")(each)
    pipeline.map(over="platforms", name="collected", on_item_error="collect")(each)
    pipeline.sleep("rest", "30d")
    pipeline.wait("approval", event="e", timeout="7d", model=Approval)
    pipeline.wait("free", event="e", timeout="7d")
    pipeline.step(name="use")(function)
    message = wrong(pipeline)
    assert message.startswith("pipeline 'publish', step 'use': ")
    assert says in message


def test_the_items_of_a_map_that_collects_may_be_errors(pipeline: Declaration[Article]) -> None:
    pipeline.map(over="platforms", on_item_error="collect")(each)

    @pipeline.map(over="each", name="fine")
    def fine(item: int | ItemError) -> None: ...

    @pipeline.map(over="each")
    def strict(item: int) -> None: ...

    (message,) = wrong(pipeline).splitlines()
    assert "step 'strict': parameter 'item' is annotated int, but the items of 'each'" in message
    assert "ItemError" in message


def test_a_wait_matches_a_field_of_the_input(pipeline: Declaration[Article]) -> None:
    pipeline.wait("one", event="e", match="articleid")
    pipeline.wait("two", event="e", match=3)  # type: ignore[arg-type]
    first, second = wrong(pipeline).splitlines()
    assert "step 'one': match='articleid' is no field of Article" in first
    assert "did you mean 'article_id'?" in first
    assert "step 'two': match=3: give a field of the input or a function of it" in second


def test_members_of_a_group_cannot_use_each_others_outputs(
    pipeline: Declaration[Article],
) -> None:
    def reads(one: Page) -> list[Page]: ...  # type: ignore[empty-body]
    def undo(one: Page, reads: list[Page]) -> None: ...
    def reads_later(last: Page) -> None: ...
    def unknown(nothing: Page) -> None: ...

    pipeline.step(name="before")(write)
    pipeline.step(name="one", group="g")(write)
    pipeline.step(group="g", compensate=undo)(reads)
    pipeline.step(group="g")(reads_later)
    pipeline.map(over="reads", group="g", name="mapped")(each)
    pipeline.step(group="g")(unknown)
    pipeline.step(name="last", group="g")(write)
    *found, last = [line.partition(", ")[2] for line in wrong(pipeline).splitlines()]
    remedy = "of the same group 'g', which executes at the same time: take one of them out of the"
    assert found == [
        f"step 'reads': parameter 'one' is the output of step 'one' {remedy} group",
        f"step 'reads:compensate': parameter 'one' is the output of step 'one' {remedy} group",
        f"step 'reads-later': parameter 'last' is the output of step 'last' {remedy} group",
        f"step 'mapped': over='reads' is the output of step 'reads' {remedy} group",
    ]
    assert last.startswith("step 'unknown': parameter 'nothing' is neither 'input', 'ctx' nor an")
    assert last.endswith("earlier step (before)")


def test_a_group_is_together_and_has_a_name_of_its_own(pipeline: Declaration[Article]) -> None:
    pipeline.step(name="one", group="g")(write)
    pipeline.sleep("two", 1)
    pipeline.step(name="three", group="g")(write)
    pipeline.step(name="four", group="g")(write)
    pipeline.step(name="five", group="two")(write)
    assert wrong(pipeline).splitlines() == [
        "pipeline 'publish', step 'three': group 'g' was ended by step 'two': declare the members "
        "of a group one after another, or give one of the two groups another name",
        "pipeline 'publish', step 'five': group 'two' has the name of step 'two': rename one",
    ]


def test_a_childs_function_returns_the_childs_input(pipeline: Declaration[Article]) -> None:
    def article(input: Article) -> Article: ...  # type: ignore[empty-body]
    def nothing(input: Article): ...  # type: ignore[no-untyped-def]

    pipeline.child("one", other(), input=article)
    pipeline.child("two", other(), input=nothing)
    pipeline.child("three", other(), input=lambda input: {"number": input})
    first, second, *third = wrong(pipeline).splitlines()
    assert "step 'one': its input function returns Article, but the input of pipeline" in first
    assert "'other' is Page: return that, or a dict" in first
    assert "step 'two': its return annotation is missing" in second
    assert "step 'three': parameter 'input' has no annotation" in third[0]


def test_a_compensation_is_bound_like_a_step_and_returns_nothing(
    pipeline: Declaration[Article],
) -> None:
    def returns(charge: Page) -> int: ...  # type: ignore[empty-body]
    def reads_later(last: Page, ctx: Context) -> None: ...
    def no_annotation(input: Article): ...  # type: ignore[no-untyped-def]
    def not_a_list(spread: int) -> None: ...

    pipeline.step(name="charge", compensate=returns)(write)
    pipeline.step(name="second", compensate=reads_later)(write)
    pipeline.step(name="third", compensate=no_annotation)(write)
    pipeline.map(over="platforms", name="spread", compensate=not_a_list)(each)
    pipeline.step(name="last")(write)
    found = [line.partition(", step ")[2] for line in wrong(pipeline).splitlines()]
    assert found == [
        "'charge:compensate': its return annotation is int, but what a compensation returns is "
        "not kept: annotate it '-> None'",
        "'second:compensate': parameter 'last' is the output of step 'last', which is declared "
        "later (the order is charge, second, third, spread, last): declare it before this step",
        "'third:compensate': its return annotation is missing: add '-> Model' (or '-> None')",
        "'spread:compensate': parameter 'spread' is the list of a map's outputs: annotate it "
        "'list[int]'",
    ]


def test_a_pipeline_has_at_most_500_steps(pipeline: Declaration[Article]) -> None:
    for number in range(500):
        pipeline.sleep(f"s{number}", 1)
    pipeline.finalize()
    longer = Declaration("longer", input=Article)
    for number in range(501):
        longer.sleep(f"s{number}", 1)
    assert wrong(longer) == (
        "pipeline 'longer': it has 501 steps and may have 500: use .map for what is repeated, or "
        ".child for a part of it"
    )
