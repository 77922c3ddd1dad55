"""Limits that several name: they are one, so they must say the same."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency

if TYPE_CHECKING:
    from taskplatform.core.pipeline import Declaration

Limit = Concurrency | Breaker


def disagreements(declarations: "Iterable[Declaration[Any]]") -> list[str]:
    """What is said in two ways of one concurrency limit or breaker."""
    known: dict[tuple[type, str | None], tuple[str, str]] = {}
    problems = []
    for place, limit in _limits(declarations):
        here = _told(limit)
        there, other = known.setdefault((type(limit), limit.name), (here, place))
        if here != there:
            kind = type(limit).__name__.lower()
            problems.append(
                f"{place}: {kind} '{limit.name}' is {here} here and {there} in {other}: say it "
                "once, or give it another name"
            )
    return problems


def _limits(declarations: "Iterable[Declaration[Any]]") -> Iterator[tuple[str, Limit]]:
    for declaration in declarations:
        place = f"pipeline '{declaration.name}'"
        for limit in declaration.concurrency:
            yield place, limit
        # What is wrong with one that has no steps yet is told elsewhere.
        for step in declaration.steps if declaration.is_final else ():
            limits: tuple[Limit, ...] = (*step.concurrency, *step.breakers)
            for one in limits:
                yield f"{place}, step '{step.name}'", one


def _told(limit: Limit) -> str:
    if isinstance(limit, Concurrency):
        return str(limit.limit)
    return (
        f"{limit.failures:.0%} of at least {limit.minimum} in {limit.window:g} s, cooling down "
        f"for {limit.cool_down:g} s, up to {limit.ramp}"
    )
