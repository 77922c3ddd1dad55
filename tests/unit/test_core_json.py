"""Stored JSON (Q12, F35): what is written can be read, and fits into Postgres."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, Json, TypeAdapter, computed_field

from taskplatform.core.json import Codec, InvalidJson, encode
from taskplatform.core.json_limits import DEEPEST, LARGEST, depth


class Inner(BaseModel):
    score: float | None = None


class Model(BaseModel):
    name: str
    inner: Inner = Inner()
    extra: dict[str, Any] = {}


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_plain_json_comes_back_as_it_was(value: Any) -> None:
    codec = Codec(Any)
    data = codec.encode(value)
    assert codec.decode(data) == value
    assert json.loads(data) == value
    assert codec.encode(codec.decode(data)) == data


@given(plain)
def test_depth_is_counted_outside_of_texts(value: Any) -> None:
    def expected(one: Any) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(expected, inner), default=0)

    assert depth(Codec(Any).encode(value)) == expected(value)


@given(st.text())
def test_any_text_is_stored_as_it_is_or_refused(text: str) -> None:
    storable = "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)
    try:
        data = Codec(str).encode(text)
    except InvalidJson:
        assert not storable
    else:
        assert storable
        assert json.loads(data) == text


def test_json_is_compact_utf8_in_field_order() -> None:
    data = Codec(Model).encode(Model(name="é", extra={"b": 1, "a": 2}))
    assert data == '{"name":"é","inner":{"score":null},"extra":{"b":1,"a":2}}'.encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("annotation", "make"),
    [
        (float, lambda number: number),
        (float | None, lambda number: number),
        (Any, lambda number: {"a": [1, number]}),
        (dict, lambda number: {"a": number}),
        (Inner, lambda number: Inner(score=number)),
        (Model, lambda number: Model(name="x", inner=Inner(score=number))),
        (list[Inner], lambda number: [Inner(), Inner(score=number)]),
    ],
)
def test_nan_and_infinity_are_errors(
    annotation: Any, make: Callable[[float], Any], number: float
) -> None:
    """F35: pydantic would write null, silently."""
    with pytest.raises(InvalidJson, match="JSON does not have"):
        Codec(annotation).encode(make(number))


def test_nan_that_a_model_writes_as_a_constant_is_an_error() -> None:
    class Loud(BaseModel, ser_json_inf_nan="constants"):
        score: float

    with pytest.raises(InvalidJson, match="NaN"):
        Codec(Loud).encode(Loud(score=float("nan")))
    with pytest.raises(InvalidJson, match="Infinity"):
        Codec(Loud).encode(Loud(score=float("-inf")))


def test_words_that_look_like_constants_are_only_words() -> None:
    assert Codec(str).encode("NaN null Infinity") == b'"NaN null Infinity"'


def test_the_message_names_the_place() -> None:
    with pytest.raises(InvalidJson, match=r"\$\.inner\.score is nan"):
        Codec(Model).encode(Model(name="x", inner=Inner(score=float("nan"))))
    with pytest.raises(InvalidJson, match=r"\$\.a\[1\] has the character U\+0000"):
        Codec(Any).encode({"a": ["x", "b\0"]})
    with pytest.raises(InvalidJson, match=r"a key of \$\.a has the character U\+0000"):
        Codec(Any).encode({"a": {"b\0": 1}})
    with pytest.raises(InvalidJson, match=r"\$\.name has half of a surrogate pair"):
        Codec(Model).encode(Model.model_construct(name="\ud83d"))


def test_an_escaped_backslash_before_u0000_is_text() -> None:
    assert json.loads(Codec(str).encode(r"\u0000")) == r"\u0000"
    with pytest.raises(InvalidJson, match=r"U\+0000"):
        Codec(str).encode("\\\0")


def test_size_is_capped_at_one_mebibyte() -> None:
    assert len(Codec(str).encode("x" * (LARGEST - 2))) == LARGEST
    with pytest.raises(InvalidJson, match="the limit is 1 MiB"):
        Codec(str).encode("x" * (LARGEST - 1))
    with pytest.raises(InvalidJson, match=r"100\.0 MiB"):
        Codec(str).encode("x" * (100 * LARGEST))


def test_depth_is_capped_at_64() -> None:
    assert Codec(Any).encode(nested(DEEPEST)) == b"[" * DEEPEST + b"]" * DEEPEST
    assert Codec(Any).encode([[] for _ in range(1000)])
    assert Codec(Any).encode(["[" * 1000, '"{' * 100])
    for levels in (DEEPEST + 1, 300, 10_000):
        with pytest.raises(InvalidJson, match="deeper than 64"):
            Codec(Any).encode(nested(levels))


def test_a_cyclic_value_is_an_error() -> None:
    for annotation in (Any, list, list[Any]):
        with pytest.raises(InvalidJson, match="refers to itself"):
            Codec(annotation).encode(cyclic())


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset(),
        datetime.now(UTC),
        uuid4(),
        Decimal("1.1"),
        b"bytes",
        (one for one in range(3)),
        range(3),
        object(),
        1j,
        {1: "a"},
        {None: 1},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_would_change_is_an_error_where_the_type_is_open(value: object) -> None:
    """F35: a later step must see what was returned, not a list in place of a set."""
    for annotation, wrapped in ((Any, value), (dict, {"a": value}), (Model, None)):
        with pytest.raises(InvalidJson):
            Codec(annotation).encode(
                Model(name="x", extra={"deep": [value]}) if annotation is Model else wrapped
            )


def test_what_the_annotation_names_comes_back_as_it_was() -> None:
    now, id = datetime.now(UTC), uuid4()
    for annotation, value in (
        (set[int], {1, 2}),
        (datetime, now),
        (tuple[int, str], (1, "a")),
        (dict[int, Any], {1: {"at": "x"}}),
        (list[dict[str, datetime]], [{"a": now}]),
        (Decimal, Decimal("1.10")),
        (bytes, b"abc"),
    ):
        codec = Codec(annotation)
        assert codec.decode(codec.encode(value)) == value
    assert Codec(Any).encode({"id": str(id), "pair": (1, 2)})


def test_aliases_do_not_keep_a_model_from_being_read() -> None:
    class Aliased(BaseModel):
        name: str = Field(validation_alias="in", serialization_alias="out")

    codec = Codec(Aliased)
    data = codec.encode(Aliased.model_validate({"in": "x"}))
    assert data == b'{"name":"x"}'
    assert codec.decode(data).name == "x"


def test_computed_fields_are_stored_unless_the_model_refuses_them() -> None:
    class Open(BaseModel):
        side: int

        @computed_field  # type: ignore[prop-decorator]
        @property
        def area(self) -> int:
            return self.side**2

    class Closed(Open, extra="forbid"):
        raw: Json[list[int]]

    assert Codec(Open).encode(Open(side=2)) == b'{"side":2,"area":4}'
    codec = Codec(Closed)
    value = codec.decode(codec.encode(Closed.model_validate({"side": 2, "raw": "[1]"})))
    assert (value.area, value.raw) == (4, [1])


def test_encode_takes_any_adapter() -> None:
    assert encode({"name": "x"}, TypeAdapter(Model)).startswith(b'{"name":"x"')
    with pytest.raises(InvalidJson, match="name: Field required"):
        encode({}, TypeAdapter(Model))
