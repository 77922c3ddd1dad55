"""Throttles (Q32): a limit, a window and a scope key."""

from typing import Any

import pytest
from pydantic import BaseModel

from taskplatform.core.throttle import Throttle
from taskplatform.errors import DeclarationError, InvalidInput


class Call(BaseModel):
    user: str | None = None
    number: int = 7


def test_without_a_key_all_share_one_limit() -> None:
    throttle = Throttle("lyrics-api", limit=10, per="1m")
    assert (throttle.name, throttle.limit, throttle.per) == ("lyrics-api", 10, 60.0)
    assert throttle.scope(Call()) == ""


def test_the_scope_is_a_field_or_a_function_of_the_input() -> None:
    assert Throttle("a", 1, 60, key="user").scope(Call(user="u1")) == "u1"
    assert Throttle("a", 1, 60, key="user").scope(Call()) == ""
    assert Throttle("a", 1, 60, key=lambda call: call.number).scope(Call()) == "7"


def test_the_weight_is_a_number_a_field_or_a_function_of_the_input() -> None:
    assert Throttle("a", 10, 60).weight_of(Call()) == 1
    assert Throttle("a", 10, 60, weight=3).weight_of(Call()) == 3
    assert Throttle("a", 10, 60, weight="number").weight_of(Call()) == 7
    assert Throttle("a", 10, 60, weight=lambda call: call.number * 10**12).weight_of(Call()) > 10


@pytest.mark.parametrize("wrong", [-1, 0.5, True, None, "3"])
def test_a_weight_that_is_no_whole_number_is_an_error(wrong: object) -> None:
    with pytest.raises(InvalidInput, match="throttle 'a': weight is"):
        Throttle("a", 10, 60, weight=lambda _: wrong).weight_of(Call())


@pytest.mark.parametrize("user", ["a\0b", "\ud800", "x" * 513])
def test_a_scope_that_cannot_be_stored_is_an_error(user: str) -> None:
    call = Call.model_construct(user=user)
    with pytest.raises(InvalidInput, match="throttle 'a': key"):
        Throttle("a", 1, 60, key="user").scope(call)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "", "limit": 1, "per": 1},
        {"name": "a", "limit": 0, "per": 1},
        {"name": "a", "limit": True, "per": 1},
        {"name": "a", "limit": 1.5, "per": 1},
        {"name": "a", "limit": 1, "per": 0},
        {"name": "a", "limit": 1, "per": "soon"},
        {"name": "a", "limit": 1, "per": 1, "key": 3},
        {"name": "a", "limit": 3, "per": 1, "weight": 4},
        {"name": "a", "limit": 3, "per": 1, "weight": 0},
        {"name": "a", "limit": 3, "per": 1, "weight": True},
        {"name": "a", "limit": 3, "per": 1, "weight": 1.5},
        {"name": "a", "limit": 1, "per": 1, "pause_at": 0},
        {"name": "a", "limit": 1, "per": 1, "pause_at": 1.1},
        {"name": "a", "limit": 1, "per": 1, "pause_at": True},
    ],
)
def test_a_wrong_throttle_is_an_error_when_declared(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="Throttle"):
        Throttle(**wrong)
