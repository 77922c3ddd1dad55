"""Names and options of pipelines and steps (F40, Q4): a wrong one is an error when declared."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.pipeline import Declaration
from taskplatform.core.throttle import Throttle
from taskplatform.errors import DeclarationError


class Track(BaseModel):
    track_id: str
    user_id: str | None = None
    priority: int = 0
    force: bool = False

    @property
    def slug(self) -> str:
        return self.track_id.lower()


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


def test_one_step_name_twice_is_an_error(pipeline: Declaration[Track]) -> None:
    """F40: also in a loop."""
    pipeline.step(find)
    with pytest.raises(DeclarationError, match="step 'find': it is declared twice"):
        pipeline.step(find)
    pipeline.step(name="a-b")(find)
    with pytest.raises(DeclarationError, match="both the parameter 'a_b'"):
        pipeline.step(name="a_b")(find)


@pytest.mark.parametrize("name", ["input", "ctx", "item", "index"])
def test_a_step_cannot_have_a_reserved_name(pipeline: Declaration[Track], name: str) -> None:
    with pytest.raises(DeclarationError, match="reserved parameter"):
        pipeline.step(name=name)(find)


@pytest.mark.parametrize("name", ["", "A", "a.b", "-a", "_a", "a b", "é", "a" * 101, "a\n"])
def test_a_step_name_has_a_plain_form(pipeline: Declaration[Track], name: str) -> None:
    with pytest.raises(DeclarationError, match="a name has small letters"):
        pipeline.step(name=name)(find)


@pytest.mark.parametrize("name", ["", "A", "a/b", ".a", "on:x", "on::f", "a b", "a" * 101, 3])
def test_a_pipeline_name_has_a_plain_form(name: Any) -> None:
    with pytest.raises(DeclarationError, match="a name has small letters"):
        Declaration(name, input=Track)


@pytest.mark.parametrize("function", [None, 3, functools.partial(find), Track, str.upper])
def test_a_step_is_a_function(pipeline: Declaration[Track], function: Any) -> None:
    with pytest.raises(DeclarationError, match="a step is a function"):
        pipeline.step(name="x")(function)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": "soon"}, "timeout: 'soon' is no duration"),
        ({"retry": 3}, "retry=3: give Retry"),
        ({"queue": ""}, "queue=''"),
        ({"version": 0}, "version=0"),
        ({"version": "2"}, "version='2'"),
        ({"throttle": "lyrics-api"}, "give Throttle"),
        ({"throttle": 3}, "'int' object is not iterable"),
        ({"throttle": [Throttle("a", 1, 1), Throttle("a", 1, 1)]}, "throttle: two have one name"),
        ({"concurrency": 5}, "'int' object is not iterable"),
        ({"concurrency": "gpu"}, "concurrency='g': give Concurrency(5"),
        ({"concurrency": [Concurrency(5), Concurrency(2)]}, "concurrency: two have one name"),
        ({"concurrency": Concurrency(5, overlap="skip")}, "is about runs: give it to the pipeline"),
        ({"breaker": Throttle("a", 1, 1)}, "'Throttle' object is not iterable"),
        ({"breaker": [Breaker("a"), Breaker("a")]}, "breaker: two have one name"),
    ],
)
def test_a_wrong_option_of_a_step_is_an_error(
    pipeline: Declaration[Track], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        pipeline.step(name="x", **options)(find)
    assert "pipeline 'enrich', step 'x'" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input": dict}, "pydantic.BaseModel"),
        ({"timeout": -1}, "timeout"),
        ({"run_timeout": 0}, "run_timeout"),
        ({"idempotency": "0s"}, "idempotency"),
        ({"retry": 5}, "retry=5"),
        ({"queue": "a b"}, "queue="),
    ],
)
def test_a_wrong_option_of_a_pipeline_is_an_error(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DeclarationError, match="pipeline 'p'") as caught:
        Declaration("p", **{"input": Track, **options})
    assert says in str(caught.value)
    assert registry.names() == ()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": "trackid"}, "key='trackid' is no field of Track (track_id, user_id, priority, fo"),
        ({"key": 3}, "key=3"),
        ({"owner": "user"}, "owner='user' is no field"),
        ({"priority": "prio"}, "did you mean 'priority'?"),
        ({"force": str.upper}, "give the name of a field"),
    ],
)
def test_an_option_that_is_no_field_is_an_error(options: dict[str, Any], says: str) -> None:
    pipeline = Declaration("p", input=Track, **options)
    pipeline.step(find)
    assert says in wrong(pipeline)


def test_a_throttle_key_that_is_no_field_is_an_error(pipeline: Declaration[Track]) -> None:
    pipeline.step(throttle=Throttle("api", 1, 1, key="user"))(find)
    assert "step 'find': throttle 'api' key='user' is no field of Track" in wrong(pipeline)


def test_a_key_may_be_a_property_of_the_input() -> None:
    pipeline = Declaration("p", input=Track, key="slug")
    pipeline.step(find)
    assert pipeline.key_of(pipeline.validate({"track_id": "ABC"})) == "abc"
