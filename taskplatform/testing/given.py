"""What a test gives in place of the world: events, children, a connection, the time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from taskplatform.core.json import Codec
from taskplatform.core.pipeline import Declaration
from taskplatform.core.step import Step
from taskplatform.errors import InvalidInput, TaskPlatformError
from taskplatform.testing.failures import resolve
from taskplatform.testing.markers import TIMEOUT

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
    """Raise ValueError for what neither the pipeline nor its children could use.

    That is a wait or a child of another name, and an event that no wait for it could read.
    """
    steps = _steps(declaration, set())
    waits = [step for step in steps if step.wait is not None]
    if isinstance(given.events, Mapping):
        for name, data in given.events.items():
            known = resolve([step.name for step in waits], name, "events=")
            if data is not TIMEOUT:
                _check_fits([step for step in waits if step.name == known], data)
    else:
        for name, data in given.events:
            _check_fits([step for step in waits if step.wait and step.wait.event == name], data)
    for name in given.children:
        resolve([step.name for step in steps if step.child is not None], name, "children=")


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


def _check_fits(waits: Sequence[Step], data: object) -> None:
    for step in waits:
        try:
            step.encode(encoded(data))
        except ValueError as error:
            what = f"events= has what step '{step.task_name}' cannot read"
            raise InvalidInput(f"{what}: {error}") from None


def _steps(declaration: Declaration[Any], seen: set[str]) -> list[Step]:
    found = list(declaration.steps)
    seen.add(declaration.name)
    for step in declaration.steps:
        if step.child is not None and step.child.declaration.name not in seen:
            found += _steps(step.child.declaration, seen)
    return found
