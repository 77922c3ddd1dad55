"""Declaring pipelines (Q2, Q12, F40): every mistake is an error that names its remedy."""

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.step import Step
from taskplatform.core.throttle import Throttle
from taskplatform.errors import DeclarationError


class Track(BaseModel):
    track_id: str
    user_id: str | None = None
    priority: int = 0
    force: bool = False


class Other(BaseModel):
    name: str


class Found(BaseModel):
    title: str


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


@pytest.fixture
def pipeline() -> Declaration[Track]:
    return Declaration("enrich", input=Track)


def find(input: Track) -> Found:
    return Found(title=input.track_id)


def wrong(pipeline: Declaration[Any]) -> str:
    with pytest.raises(DeclarationError) as caught:
        pipeline.finalize()
    return str(caught.value)


def test_steps_follow_in_order_and_are_named_after_their_functions(
    pipeline: Declaration[Track],
) -> None:
    pipeline.step(find)

    @pipeline.step(name="words")
    def get_the_words(input: Track, find: Found, ctx: Context) -> None: ...

    @pipeline.step()
    def simulate_delay(words: None) -> dict[str, int]:
        return {}

    assert [step.name for step in pipeline.steps] == ["find", "words", "simulate-delay"]
    assert [step.task_name for step in pipeline.steps][-1] == "enrich.simulate-delay"
    assert pipeline.steps[1].parameters == ("input", "find", "ctx")
    assert pipeline.steps[1].needs == ("find",)
    assert pipeline.find("words") is pipeline.steps[1]
    assert pipeline.find("nothing") is None


def test_the_decorator_leaves_the_function_as_it_is(pipeline: Declaration[Track]) -> None:
    assert pipeline.step(find) is find
    assert pipeline.step(name="again")(find) is find
    assert find(Track(track_id="t")) == Found(title="t")


def test_a_steps_options_win_over_the_pipelines() -> None:
    """Q4: a policy per pipeline and per step."""
    policy = Retry(delays=["5m"])
    pipeline = Declaration("p", input=Track, retry=policy, timeout="1m", queue="slow")
    limits = (Throttle("a", 1, "1s"), Throttle("b", 2, "1m", key="user_id"))
    pipeline.step(find)
    pipeline.step(
        name="own", retry=Retry(0), timeout="30s", queue="gpu", throttle=limits, version=2
    )(find)
    pipeline.step(name="one", throttle=limits[0])(find)

    def options(step: Step) -> tuple[object, ...]:
        return step.retry, step.timeout, step.queue, step.throttles, step.version

    assert options(pipeline.steps[0]) == (policy, 60.0, "slow", (), 1)
    assert options(pipeline.steps[1]) == (Retry(0), 30.0, "gpu", limits, 2)
    assert pipeline.steps[2].throttles == limits[:1]


def test_the_defaults() -> None:
    pipeline = Declaration("p", input=Track)
    assert (pipeline.retry, pipeline.timeout) == (Retry(3), 300.0)
    assert (pipeline.run_timeout, pipeline.idempotency, pipeline.queue) == (None, None, None)


def test_annotations_that_are_only_text_are_resolved_when_finalized(
    pipeline: Declaration[Track],
) -> None:
    def later(input: "Track") -> "DeclaredBelow":
        return DeclaredBelow(count=len(input.track_id))

    pipeline.step(later)
    assert pipeline.steps[0].output_adapter.validate_python({"count": 1}) == DeclaredBelow(count=1)


class DeclaredBelow(BaseModel):
    count: int


def test_a_step_may_be_async_or_decorated(pipeline: Declaration[Track]) -> None:
    @pipeline.step
    async def wait(input: Track) -> None: ...

    @pipeline.step
    @functools.wraps(find)
    def wrapped(*args: Any, **kwargs: Any) -> Found:
        return find(*args, **kwargs)

    assert [step.is_async for step in pipeline.steps] == [True, False]
    assert pipeline.steps[1].parameters == ("input",)


def declare_unknown(find: Found, titel: Found) -> None: ...
def declare_near(fnd: Found) -> None: ...
def declare_later(last: None) -> None: ...
def declare_itself(broken: None) -> None: ...
def declare_input_by_type(track: Track) -> None: ...
def declare_other_input(input: Other) -> None: ...
def declare_optional_input(input: Track | None) -> None: ...
def declare_no_annotation(input) -> None: ...  # type: ignore[no-untyped-def]
def declare_no_return(input: Track): ...  # type: ignore[no-untyped-def]
def declare_args(*args: int) -> None: ...
def declare_kwargs(**found: Found) -> None: ...
def declare_positional(input: Track, /) -> None: ...
def declare_item(item: Track) -> None: ...
def declare_index(index: int) -> None: ...
def declare_context(ctx: int) -> None: ...
def declare_unresolved(input: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def declare_unstorable(input: Track) -> Callable[..., "Missing"]: ...  # type: ignore[name-defined,empty-body]  # noqa: F821
def declare_iterable(input: Track) -> Iterable[int]: ...  # type: ignore[empty-body]
def declare_generator(input: Track) -> Generator[int, None, None]:
    yield 1


class Arbitrary:
    pass


def declare_arbitrary_class(input: Track, find: Arbitrary) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (declare_unknown, "parameter 'titel' is neither 'input', 'ctx' nor an earlier step (find)"),
        (declare_near, "did you mean 'find'?"),
        (declare_later, "output of step 'last', which is declared later (the order is find, bro"),
        (declare_itself, "parameter 'broken' is the step's own output"),
        (declare_input_by_type, "the pipeline's input is bound to 'input'"),
        (declare_other_input, "annotated Other, but the pipeline's input is Track: use that"),
        (declare_optional_input, "but the pipeline's input is Track"),
        (declare_no_annotation, "parameter 'input' has no annotation: add its type"),
        (declare_no_return, "return annotation is missing: add '-> Model' (or '-> None')"),
        (declare_args, "parameter '*args': name each output that the step needs"),
        (declare_kwargs, "parameter '**found': name each output"),
        (declare_positional, "parameter 'input' is positional-only: remove the '/'"),
        (declare_item, "parameter 'item' is reserved for steps that are mapped"),
        (declare_index, "parameter 'index' is reserved for steps that are mapped"),
        (declare_context, "annotate it 'ctx: Context'"),
        (declare_unresolved, "name 'Nowhere' is not defined): import the name"),
        (declare_unstorable, "import the name"),
        (declare_arbitrary_class, "parameter 'find', Arbitrary, cannot be validated as JSON"),
        (declare_iterable, "Iterable[int], is consumed by reading it: use a list"),
        (declare_generator, "it is a generator: return a list instead"),
    ],
)
def test_a_wrong_signature_is_an_error_that_names_the_remedy(
    pipeline: Declaration[Track], function: Callable[..., Any], says: str
) -> None:
    pipeline.step(find)
    pipeline.step(name="broken")(function)

    @pipeline.step
    def last(find: Found) -> None: ...

    message = wrong(pipeline)
    assert message.startswith("pipeline 'enrich', step 'broken': ")
    assert says in message
    assert "\n" not in message


def test_all_mistakes_are_said_at_once(pipeline: Declaration[Track]) -> None:
    pipeline.step(declare_no_return)
    pipeline.step(declare_args)
    other = Declaration("other", input=Track, key="trackid")
    with pytest.raises(DeclarationError) as caught:
        registry.finalize_all()
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "pipeline 'enrich', step 'declare-no-return'",
        "pipeline 'enrich', step 'declare-args'",
        "pipeline 'other'",
        "pipeline 'other'",
    ]
    assert "did you mean 'track_id'?" in lines[2]
    assert other.name == "other"


def test_a_failed_finalize_may_be_repeated_and_a_successful_one_too(
    pipeline: Declaration[Track],
) -> None:
    assert "it has no step" in wrong(pipeline)
    assert "it has no step" in wrong(pipeline)
    pipeline.step(find)
    pipeline.finalize()
    steps = pipeline.steps
    pipeline.finalize()
    assert pipeline.steps is steps


def test_no_step_is_added_to_a_pipeline_in_use(pipeline: Declaration[Track]) -> None:
    pipeline.step(find)
    pipeline.finalize()
    with pytest.raises(DeclarationError, match="'late': it is added after"):
        pipeline.step(name="late")(find)
