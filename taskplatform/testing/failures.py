"""Failures injected per step and attempt."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from taskplatform.core.names import near, parameter_name
from taskplatform.core.pipeline import Declaration
from taskplatform.testing.markers import Cancelled, Crash, TimedOut

Marker = Crash | TimedOut | Cancelled
Injected = BaseException | Marker
OneFailure = Injected | type[BaseException] | type[Crash] | type[TimedOut] | type[Cancelled]
Step = str | tuple[str, int]
# Of a child's step, a mapping is for the steps of the child.
Failures = Mapping[Step, "OneFailure | Sequence[OneFailure | None] | Failures"]

_KINDS = (BaseException, Crash, TimedOut, Cancelled)


class Plan:
    """What is to happen to which attempt of which step."""

    def __init__(self, declaration: Declaration[Any], failures: Failures | None) -> None:
        """Raises ValueError for a step that does not exist, or a failure that is none."""
        self._always: dict[str, Injected] = {}
        self._first: dict[str, list[Injected | None]] = {}
        self._inside: dict[str, Failures] = {}
        for key, what in (failures or {}).items():
            name = _attempted(declaration, key)
            if isinstance(what, Mapping):
                self._inside[name] = what
            elif isinstance(what, Sequence):
                self._first[name] = [None if one is None else _injected(one) for one in what]
            else:
                self._always[name] = _injected(what)

    def of(self, name: str, number: int, mapped: str | None = None) -> Injected | None:
        """What happens to that attempt; None: the body is executed.

        `mapped` is the map that the step is an item of: what is given for the item wins.
        """
        for one in (name, mapped):
            if one in self._always:
                return self._always[one]
            if one is not None and one in self._first:
                first = self._first[one]
                return first[number - 1] if number <= len(first) else None
        return None

    def inside(self, name: str) -> Failures:
        """The failures of a child's own steps."""
        return self._inside.get(name, {})


def resolve(known: Iterable[str], name: str, what: str) -> str:
    """The name as it is declared, also when it is given as the function's.

    Raises ValueError with the nearest known one.
    """
    names = list(known)
    for one in names:
        if name in (one, parameter_name(one)):
            return one
    shown = ", ".join(names) or "there is none"
    raise ValueError(f"{what} names '{name}', which is none of: {shown}{near(name, names)}")


def _attempted(declaration: Declaration[Any], key: Step) -> str:
    steps = [step.name for step in declaration.steps if step.has_body]
    undone = [one.compensation.name for one in declaration.steps if one.compensation is not None]
    if isinstance(key, tuple):
        step, index = key
        return f"{resolve(steps, step, 'failures=')}[{index}]"
    return resolve([*steps, *undone], key, "failures=")


def _injected(what: object) -> Injected:
    made = what() if isinstance(what, type) and issubclass(what, _KINDS) else what
    if isinstance(made, _KINDS):
        return made
    raise ValueError(
        f"failures= has {what!r}: give exceptions, testing.Crash(), testing.TimedOut() or "
        "testing.Cancelled(), and None for an attempt that is executed"
    )
