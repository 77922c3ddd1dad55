"""The pipelines declared in this process."""

from typing import TYPE_CHECKING, Any

from taskplatform.core.disagreements import disagreements
from taskplatform.core.names import HANDLER_PREFIX, near
from taskplatform.errors import DeclarationError, PipelineNotFound

if TYPE_CHECKING:
    from taskplatform.core.pipeline import Declaration
    from taskplatform.core.throttle import Throttle

_declared: "dict[str, Declaration[Any]]" = {}
_handlers: "dict[str, tuple[Declaration[Any], ...]]" = {}


def register(declaration: "Declaration[Any]") -> None:
    """Make a pipeline known by its name.

    Raises DeclarationError if the name is taken, even by the same code imported twice.
    """
    other = _declared.setdefault(declaration.name, declaration)
    if other is not declaration:
        raise DeclarationError(
            f"pipeline '{declaration.name}' is declared twice, at {other.place} and at "
            f"{declaration.place}: rename one, or import its module under one name only"
        )
    if declaration.name.startswith(HANDLER_PREFIX):
        event = declaration.name.removeprefix(HANDLER_PREFIX).rpartition(":")[0]
        _handlers[event] = (*_handlers.get(event, ()), declaration)


def get(name: str) -> "Declaration[Any]":
    """The pipeline of that name.

    Raises PipelineNotFound with the nearest name.
    """
    found = _declared.get(name)
    if found is None:
        visible = [one for one in _declared if not one.startswith(HANDLER_PREFIX)]
        raise PipelineNotFound(f"no pipeline is named '{name}'{near(name, visible)}")
    return found


def names() -> tuple[str, ...]:
    """The names of all pipelines, hidden ones too, in order of declaration."""
    return tuple(_declared)


def all() -> "tuple[Declaration[Any], ...]":
    """All pipelines, hidden ones too, in order of declaration."""
    return tuple(_declared.values())


def handlers(event: str) -> "tuple[Declaration[Any], ...]":
    """The hidden pipelines that an event starts."""
    return _handlers.get(event, ())


def any_fair() -> bool:
    """Whether runs of any pipeline share a queue fairly, by a key."""
    return any(one.inputs.is_fair for one in _declared.values())


def finalize_all() -> None:
    """Check every pipeline.

    Raises one DeclarationError that says all that is wrong.
    """
    problems = []
    throttles: dict[str, tuple[Throttle, str]] = {}
    for declaration in all():
        try:
            declaration.finalize()
        except DeclarationError as error:
            problems.append(str(error))
            continue
        for step in declaration.steps:
            for throttle in step.throttles:
                other, where = throttles.setdefault(throttle.name, (throttle, step.task_name))
                if (other.limit, other.per) != (throttle.limit, throttle.per):
                    problems.append(
                        f"pipeline '{declaration.name}', step '{step.name}': throttle "
                        f"'{throttle.name}' is {throttle.limit} per {throttle.per:g} s here and "
                        f"{other.limit} per {other.per:g} s in '{where}': give it one limit, or "
                        "another name"
                    )
    problems += disagreements(all())
    if problems:
        raise DeclarationError("\n".join(problems))


def clear() -> None:
    """Forget all pipelines; for tests."""
    _declared.clear()
    _handlers.clear()
