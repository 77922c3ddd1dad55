"""What a measure is."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.session import Found, Session


@dataclass(frozen=True)
class Measure:
    """A measure: whom it is taken of unless others are asked for, and how.

    `databases` are prepared ones, by name (see `history`): it is taken of the platform in each of
    them, under the name of the database.
    """

    name: str
    contenders: tuple[str, ...]
    take: Callable[[Session], Found]
    databases: tuple[str, ...] = ()
