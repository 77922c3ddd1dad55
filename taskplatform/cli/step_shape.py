"""What a declared step is: a body, a map, a rest, a child; in which group, undone by what."""

from collections.abc import Iterator
from typing import Any

from taskplatform.cli import words
from taskplatform.core.shapes import Kind
from taskplatform.core.step import Step


def told(step: Step) -> str:
    """In words, for a table."""
    return "; ".join(_parts(step)) or "executes"


def described(step: Step) -> dict[str, Any]:
    """As data; what a step has not is null. Times in seconds."""
    mapped, wait = step.mapped, step.wait
    return {
        "kind": step.kind.value,
        "group": step.group,
        "map": mapped
        and {
            "over": mapped.over,
            "max_parallel": mapped.max_parallel,
            "on_item_error": mapped.on_item_error,
        },
        "sleep": step.sleep,
        "wait": wait
        and {
            "event": wait.event,
            "match": wait.match if isinstance(wait.match, str) else None,
            "timeout": wait.timeout,
            "on_timeout": wait.on_timeout,
        },
        "child": step.child and step.child.declaration.name,
        "compensation": step.compensation and step.compensation.name,
        "transactional": step.transactional,
        "heartbeat": step.heartbeat,
    }


def _parts(step: Step) -> Iterator[str]:
    if step.mapped is not None:
        most = f", {step.mapped.max_parallel} at once" if step.mapped.max_parallel else ""
        errors = ", errors collected" if step.mapped.on_item_error == "collect" else ""
        yield f"maps over {step.mapped.over}{most}{errors}"
    elif step.kind is Kind.SLEEP:
        yield f"sleeps {words.length(step.sleep or 0)}"
    elif step.wait is not None:
        match = f" with the run's {step.wait.match}" if isinstance(step.wait.match, str) else ""
        limit = "" if step.wait.timeout is None else f", at most {words.length(step.wait.timeout)}"
        yield f"waits for {step.wait.event}{match}{limit}"
    elif step.child is not None:
        yield f"runs {step.child.declaration.name}"
    if step.group is not None:
        yield f"in group {step.group}"
    if step.compensation is not None:
        yield "is compensated"
    if step.transactional:
        yield "transactional"
    if step.version != 1:
        yield f"version {step.version}"
