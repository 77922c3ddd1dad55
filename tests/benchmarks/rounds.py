"""Rounds: each contender has its turn once, alone, in an order that rotates."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeVar

from tests.benchmarks.contenders import OURS
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.place import Place
from tests.benchmarks.servers import Servers, template_of
from tests.benchmarks.session import Found, Plan, install, turn

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

# What one contender came to in the rounds, or what went wrong in one of them.
Turns = dict[str, list[Found | str]]


def take(
    shared: Servers, measure: Measure, contenders: Sequence[str], plan: Plan, rounds: int
) -> Turns:
    """Take the measure in so many rounds; of databases, where the measure has them."""
    names = list(measure.databases or contenders)
    for name in contenders:
        with shared.template(template_of(name)) as place:
            if place is not None:
                _apart(install, name, place)
    turns: Turns = {name: [] for name in names}
    for number in range(rounds):
        # Whoever comes second finds a warmer machine: take turns.
        for name in _rotated(names, number):
            turns[name].append(_turn(shared, measure, name, plan))
            print(
                f"{measure.name}, round {number + 1}, {name}: {_said(turns[name][-1])}", flush=True
            )
    return turns


def _turn(shared: Servers, measure: Measure, name: str, plan: Plan) -> Found | str:
    contender = OURS if measure.databases else name
    with _place(shared, measure, name) as place:
        try:
            return _apart(turn, contender, place, plan, measure.take)
        except Exception as error:
            print(f"{name}: {error!r}", file=sys.stderr)
            return f"{type(error).__name__}: {error}"


def _place(shared: Servers, measure: Measure, name: str) -> AbstractContextManager[Place]:
    return shared.prepared(name) if measure.databases else shared.place(template_of(name))


def _apart(
    function: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Answer:
    """Call it in a new process, so that nobody's threads and modules are another's burden."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _rotated(names: Sequence[str], number: int) -> Iterator[str]:
    first = number % len(names)
    yield from names[first:]
    yield from names[:first]


def _said(found: Found | str) -> str:
    if isinstance(found, str):
        return found
    return ", ".join(f"{name} {value:,.2f}" for name, value in list(found.figures.items())[:3])
