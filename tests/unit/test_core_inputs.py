"""Inputs (Q12, Q14, W12, W21, A15): validated at the door, and what is read out of them."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import InvalidInput


class Level(IntEnum):
    HIGH = 300


class Track(BaseModel):
    track_id: str | int | UUID | None
    user_id: str | None = None
    priority: int | None = 0
    force: bool = False
    ratio: float = 0
    extra: dict[str, Any] = {}


class Other(BaseModel):
    name: str


def made(**fields: Any) -> Track:
    return Track.model_construct(**fields)


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


@pytest.fixture
def pipeline() -> Declaration[Track]:
    return Declaration(
        "enrich",
        input=Track,
        key="track_id",
        owner="user_id",
        priority="priority",
        force="force",
    )


def test_an_input_is_a_model_a_mapping_or_json(pipeline: Declaration[Track]) -> None:
    expected = Track(track_id="t", ratio=0.5)
    given = (expected, {"track_id": "t", "ratio": "0.5"}, b'{"track_id":"t","ratio":0.5}')
    for one in given:
        assert pipeline.validate(one) == expected
        assert pipeline.accept(one) == (expected, pipeline.accept(expected)[1])
    assert pipeline.validate(expected) is not expected


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "track_id: Field required"),
        ({"track_id": "t", "ratio": "high", "force": 7}, "ratio: Input should be a valid number"),
        ({"track_id": "t", "ratio": float("inf")}, "JSON does not have"),
        ({"track_id": "t", "extra": {"a": float("nan")}}, r"\$\.extra\.a is nan"),
        ({"track_id": "a\0"}, r"track_id has the character U\+0000"),
        ({"track_id": "\ud800"}, "surrogate"),
        ({"track_id": "t", "extra": {"when": {1}}}, "extra"),
        (made(ratio=1.0), "track_id: Field required"),
        (Other(name="x"), "Track"),
        ("text", r"\$: Input should be a valid dictionary"),
        (None, r"\$: Input should be a valid dictionary"),
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff", "JSON"),
        (b'{"track_id": "\\u0000"}', r"U\+0000"),
        (b'{"track_id": "t", "ratio": NaN}', "JSON does not have"),
        (b'{"track_id": "t", "ratio": 1e400}', "JSON does not have"),
        (b'{"track_id": "t", "extra": {"a": 1e400}}', "JSON does not have"),
        (b'{"track_id": ' + b"9" * 5000 + b"}", ""),
        (b"[" * 100_000, "JSON"),
        (b'{"track_id": "t", "extra": {"a":' + b"[" * 64 + b"]" * 64 + b"}}", "64 levels"),
        (b'"' + b'\\"' * 500_000, "JSON"),
        (b" " * (2**20 + 1), "the limit is 1 MiB"),
        ({"track_id": "x" * 2**20}, "the limit is 1 MiB"),
    ],
)
def test_a_malformed_input_is_an_error_that_names_the_field(
    pipeline: Declaration[Track], wrong: object, says: str
) -> None:
    with pytest.raises(InvalidInput, match="the input of pipeline 'enrich' is invalid") as caught:
        pipeline.validate(wrong)
    assert caught.match(says)


def test_values_are_not_in_the_message(pipeline: Declaration[Track]) -> None:
    """A27: they may be secret."""
    with pytest.raises(InvalidInput) as caught:
        pipeline.validate({"track_id": ["hunter2"], "ratio": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("track_id", "key"),
    [
        ("t1", "t1"),
        (17, "17"),
        (None, None),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_the_key_is_a_field_as_text(
    pipeline: Declaration[Track], track_id: Any, key: str | None
) -> None:
    assert pipeline.key_of(Track(track_id=track_id)) == key


def test_the_key_may_be_a_function() -> None:
    pipeline = Declaration("p", input=Track, key=lambda track: f"{track.user_id}/{track.track_id}")
    assert pipeline.key_of(Track(track_id="t", user_id="u")) == "u/t"
    assert Declaration("q", input=Track).key_of(Track(track_id="t")) is None


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0", "\ud800", ["a"], {"a": 1}, 1.5])
def test_a_key_that_cannot_be_one_is_an_error(pipeline: Declaration[Track], key: Any) -> None:
    with pytest.raises(InvalidInput, match="pipeline 'enrich': key"):
        pipeline.key_of(made(track_id=key))


def test_the_owner_and_force_are_fields(pipeline: Declaration[Track]) -> None:
    assert pipeline.owner_of(Track(track_id="t", user_id="u")) == "u"
    assert pipeline.owner_of(Track(track_id="t")) is None
    assert pipeline.inputs.force_of(Track(track_id="t", force=True)) is True
    plain = Declaration("p", input=Track)
    assert (plain.owner_of(Track(track_id="t")), plain.inputs.force_of(Track(track_id="t"))) == (
        None,
        False,
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (300, 300),
        (-300, -300),
        (None, 0),
        (Level.HIGH, 300),
        (2**31, 2**31 - 1),
        (-(2**63), -(2**31)),
    ],
)
def test_the_priority_is_a_field_within_bounds(
    pipeline: Declaration[Track], given: int | None, expected: int
) -> None:
    """Q13, A28: clamped to what the column holds."""
    assert pipeline.priority_of(Track(track_id="t", priority=given)) == expected


def test_a_priority_that_is_no_number_is_an_error(pipeline: Declaration[Track]) -> None:
    with pytest.raises(InvalidInput, match="priority 'priority' is a str"):
        pipeline.priority_of(made(priority="high"))
