"""Concurrency limits and breakers as they are declared (Q8, W14): a wrong one is an error there."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency, declared
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import DeclarationError, InvalidInput, Permanent, RetryAfter


class Call(BaseModel):
    """An input."""

    tenant: str | None = None


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


def pipeline(name: str = "p", *, runs: Any = None, **step: Any) -> Declaration[Call]:
    made = Declaration(name, input=Call, concurrency=runs)

    @made.step(**step)
    def a() -> int:
        return 1

    return made


def test_a_limit_has_a_name_of_its_own_or_that_of_its_place() -> None:
    named, bare = Concurrency("gpu", 5), Concurrency(2, key="tenant")
    made = pipeline(runs=[bare, named], concurrency=[Concurrency(3), named])
    assert [(one.name, one.limit) for one in made.concurrency] == [("p", 2), ("gpu", 5)]
    assert [one.name for one in made.steps[0].concurrency] == ["p.a", "gpu"]
    assert declared([made]) == {"p": 2, "gpu": 5, "p.a": 3}
    assert made.concurrency[0].scope(Call(tenant="t")) == "t"
    assert made.concurrency[0].scope(Call()) == ""
    with pytest.raises(InvalidInput, match="concurrency 'p': key"):
        made.concurrency[0].scope(Call.model_construct(tenant="a\0b"))


@pytest.mark.parametrize(
    "given",
    [
        {"limit": 0},
        {"limit": True},
        {"limit": "5"},
        {"name": "gpu"},
        {"name": "A b", "limit": 1},
        {"limit": 1, "key": 3},
        {"limit": 1, "overlap": "drop"},
    ],
)
def test_a_wrong_limit_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="Concurrency"):
        Concurrency(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "A b"},
        {"failures": 0},
        {"failures": 1.1},
        {"failures": True},
        {"minimum": 0},
        {"ramp": 1.5},
        {"window": 0},
        {"cool_down": "soon"},
        {"counts": 3},
    ],
)
def test_a_wrong_breaker_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="Breaker"):
        Breaker(**{"name": "api", **given})


def test_what_the_api_has_answered_is_not_its_failure() -> None:
    assert Breaker("api").blames(ValueError())
    assert not Breaker("api").blames(Permanent("no"))
    assert not Breaker("api").blames(RetryAfter(1))
    assert Breaker("api", counts=lambda error: isinstance(error, RetryAfter)).blames(RetryAfter(1))


def test_who_names_a_limit_says_the_same_of_it() -> None:
    pipeline("p", concurrency=Concurrency("gpu", 5), breaker=Breaker("api", minimum=2))
    pipeline("q", runs=Concurrency("gpu", 6), breaker=Breaker("api", minimum=3))
    with pytest.raises(DeclarationError) as caught:
        registry.finalize_all()
    assert "concurrency 'gpu' is 6 here and 5 in pipeline 'p', step 'a'" in str(caught.value)
    assert "breaker 'api' is 50% of at least 3 in 60 s" in str(caught.value)


def test_a_key_that_is_no_field_is_an_error() -> None:
    made = pipeline(runs=Concurrency(1, key="tenent"))
    with pytest.raises(DeclarationError, match="did you mean 'tenant'"):
        made.finalize()
