"""What a test gives in place of the world: events, children, a connection, the time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from taskplatform.core.json import Codec
from taskplatform.core.pipeline import Declaration
from taskplatform.core.shapes import Kind
from taskplatform.errors import TaskPlatformError
from taskplatform.testing.failures import resolve

Data = BaseModel | Mapping[str, Any]
Events = Sequence[tuple[str, Data]] | Mapping[str, Any]
Children = Mapping[str, Any | Callable[[Any], Any]]

_ANYTHING = Codec(dict[str, Any])


class NotGiven(TaskPlatformError, LookupError):
    """The run needs something that the test did not give; the message says what to give."""


@dataclass(frozen=True, slots=True)
class Given:
    """What stands in for the world, for a run and its children."""

    events: Events = ()
    children: Children = field(default_factory=dict)
    connection: object = None
    handlers: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def check(given: Given, declaration: Declaration[Any]) -> None:
    """Raise ValueError for a wait or a child that neither the pipeline nor its children have."""
    waits = _names(declaration, Kind.WAIT)
    children = _names(declaration, Kind.CHILD)
    if isinstance(given.events, Mapping):
        for name in given.events:
            resolve(waits, name, "events=")
    for name in given.children:
        resolve(children, name, "children=")


def named(mapping: Mapping[str, Any], step: str) -> tuple[bool, Any]:
    """Whether something is given for a step, and what."""
    for name in (step, step.replace("-", "_")):
        if name in mapping:
            return True, mapping[name]
    return False, None


def encoded(data: object) -> bytes:
    """An event's data, as it would be stored.

    Raises ValueError.
    """
    if isinstance(data, BaseModel):
        return Codec(type(data)).encode(data)
    return _ANYTHING.encode(data)


def _names(declaration: Declaration[Any], kind: Kind) -> list[str]:
    found = []
    for step in declaration.steps:
        if step.kind is kind:
            found.append(step.name)
        if step.child is not None:
            found += _names(step.child.declaration, kind)
    return found
