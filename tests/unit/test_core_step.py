"""Calling a step and storing what it returns (Q3, Q12, F35, F39)."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.core.step import InvalidOutput, Step, Unreadable


class Track(BaseModel):
    track_id: str
    tags: list[str] = []


class Found(BaseModel):
    title: str
    scores: list[float] = []


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


def step_of(function: Callable[..., Any], *before: Callable[..., Any]) -> Step:
    pipeline = Declaration("enrich", input=Track)
    for one in (*before, function):
        pipeline.step(one)
    registry.clear()
    return pipeline.steps[-1]


def find_it(input: Track) -> Found:
    return Found(title=input.track_id)


def made(**fields: Any) -> Found:
    return Found.model_construct(**fields)


def changed() -> Found:
    found = Found(title="x")
    found.title = 3  # type: ignore[assignment]
    return found


def test_parameters_are_bound_by_name_and_validated() -> None:
    def use(ctx: Context, find_it: Found, input: Track) -> tuple[str, str, int]:
        return input.track_id, find_it.title, ctx.attempt

    step = step_of(use, find_it)
    results = {"find-it": b'{"title":"x"}', "unused": b"broken"}
    assert step.call(Track(track_id="t"), results, Context(attempt=2)) == ("t", "x", 2)


def test_each_consumer_reads_an_output_as_the_type_it_names() -> None:
    class Short(BaseModel):
        title: str

    def as_dict(find_it: dict[str, Any]) -> str:
        return repr(find_it)

    stored = {"find-it": b'{"title":"x","scores":[1.0]}'}
    assert step_of(as_dict, find_it).call(None, stored, Context()) == repr(
        {"title": "x", "scores": [1.0]}
    )

    def as_other(find_it) -> str:  # type: ignore[no-untyped-def]
        return repr(find_it)

    as_other.__annotations__["find_it"] = Short
    assert step_of(as_other, find_it).call(None, stored, Context()) == "Short(title='x')"


def test_a_step_cannot_change_what_the_next_one_sees() -> None:
    """Q3: a resumed run sees exactly what an uninterrupted one sees."""

    def spoil(input: Track, find_it: Found) -> None:
        input.tags.append("spoilt")
        find_it.scores.append(1)

    step = step_of(spoil, find_it)
    stored, results = b'{"track_id":"t","tags":[]}', {"find-it": b'{"title":"x","scores":[]}'}
    step.call(stored, results, Context())
    again = step.bind(stored, results, Context())
    assert again["input"].tags == []
    assert again["find_it"].scores == []


def test_what_is_stored_and_does_not_fit_the_code_is_no_failure_of_the_body() -> None:
    """F39: the executor parks such a run with a reason."""

    def use(input: Track, find_it: Found) -> None:
        raise AssertionError("the body must not start")

    step = step_of(use, find_it)
    track = Track(track_id="t")
    with pytest.raises(Unreadable, match="stored output of step 'find-it' does not fit step 'enri"):
        step.call(track, {"find-it": b'{"name":"x"}'}, Context())
    with pytest.raises(Unreadable, match="needs the output of 'find-it': none is stored"):
        step.call(track, {}, Context())
    with pytest.raises(Unreadable, match="stored input of pipeline 'enrich' does not fit"):
        step.call(b'{"id":"t"}', {"find-it": b'{"title":"x"}'}, Context())


def test_an_async_step_gives_a_coroutine() -> None:
    async def think(input: Track) -> str:
        return input.track_id

    step = step_of(think)
    assert step.is_async
    assert asyncio.run(step.call(Track(track_id="t"), {}, Context())) == "t"


@pytest.mark.parametrize(
    ("returned", "stored"),
    [
        (Found(title="x"), b'{"title":"x","scores":[]}'),
        ({"title": "x", "scores": ["1"]}, b'{"title":"x","scores":[1.0]}'),
        (made(title="x"), b'{"title":"x","scores":[]}'),
    ],
)
def test_an_output_is_validated_into_its_annotation(returned: object, stored: bytes) -> None:
    assert step_of(find_it).encode(returned) == stored


@pytest.mark.parametrize(
    "returned",
    [
        None,
        "x",
        {"name": "x"},
        Track(track_id="x"),
        made(scores=[1.0]),
        made(title=None),
        made(title="x", scores=["high"]),
        made(title="x", scores=None),
        changed(),
        {"title": "a\0b"},
        Found(title="\ud800"),
        Found(title="x", scores=[float("nan")]),
        Found(title="x" * 2**20),
        (one for one in "x"),
        object(),
    ],
)
def test_an_output_that_does_not_fit_is_an_error_of_the_attempt(returned: object) -> None:
    """Q12, F35: also of an instance that was changed or made behind the model's back."""
    with pytest.raises(InvalidOutput, match=r"the output of step 'enrich\.find-it': ."):
        step_of(find_it).encode(returned)


def test_instances_inside_of_other_types_are_validated_too() -> None:
    def several(input: Track) -> list[Found]:
        return []

    step = step_of(several)
    assert step.encode([Found(title="x"), {"title": "y"}]).count(b"title") == 2
    for bad in (changed(), made(), made(title=None)):
        with pytest.raises(InvalidOutput):
            step.encode([Found(title="x"), bad])


def test_a_step_that_returns_nothing_outputs_null() -> None:
    def nothing(input: Track) -> None: ...

    step = step_of(nothing)
    assert step.encode(None) == b"null"
    with pytest.raises(InvalidOutput, match="None"):
        step.encode(1)

    def after(nothing: None) -> bool:
        return nothing is None

    assert step_of(after, nothing).call(None, {"nothing": b"null"}, Context()) is True


def test_a_union_stores_the_member_that_was_returned() -> None:
    def either(input: Track) -> Found | Track | None:
        return None

    step = step_of(either)
    assert step.encode(Track(track_id="t")) == b'{"track_id":"t","tags":[]}'
    assert step.encode(Found(title="x")) == b'{"title":"x","scores":[]}'
    assert step.encode(None) == b"null"


def test_a_context_is_enough_for_a_plain_unit_test() -> None:
    ctx = Context()
    ctx.progress(1, 2)
    ctx.heartbeat()
    ctx.logger.debug("hello")
    assert not ctx.cancelled
    assert ctx.attempt == 1


def test_a_context_passes_on_what_the_body_says() -> None:
    told: list[object] = []
    ctx = Context(
        UUID(int=1),
        "lyrics",
        3,
        progress=lambda done, total: told.append((done, total)),
        heartbeat=lambda: told.append("alive"),
        cancelled=lambda: True,
    )
    ctx.progress(5, 10)
    ctx.heartbeat()
    assert told == [(5, 10), "alive"]
    assert ctx.cancelled
    assert ctx.idempotency_key == "00000000-0000-0000-0000-000000000001:lyrics"
    again = Context(UUID(int=1), "lyrics", 4)
    assert again.idempotency_key == ctx.idempotency_key
