"""Arrival: what becomes of a row that reaches a stage which is not the body of one step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from taskplatform.core.shapes import Kind, Wait
from taskplatform.core.stages import Stage
from taskplatform.core.step import Step
from taskplatform.storage.settlement import ForkGroup, ForkMap, NewWait, PutBack

# More belongs into several runs, or several items into one.
MOST_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """How the row rests, and what it makes when it begins to."""

    then: PutBack
    fork: ForkGroup | ForkMap | None = None
    wait: NewWait | None = None


class CannotFork(ValueError):
    """What a map goes over is no list, or too long."""


def arrive(
    stage: Stage,
    input: bytes,
    outputs: Mapping[str, bytes],
    default_queue: str,
) -> Arrival | None:
    """Say how a row rests at `stage`; None: it does not, somebody has to execute something.

    Raises CannotFork, and whatever a wait's own match function raises.
    """
    if len(stage) > 1:
        return _at_group(stage, default_queue)
    (step,) = stage
    queue = step.queue or default_queue
    match step.kind:
        case Kind.SLEEP:
            then = PutBack(
                step.name,
                queue,
                delay=step.sleep,
                reason="sleep",
                waiting_for=step.name,
                rest="sleep",
            )
            return Arrival(then)
        case Kind.WAIT:
            return _at_wait(step, input, queue)
        case Kind.MAP:
            return _at_map(step, input, outputs, queue)
        case _:
            return None


def _at_group(stage: Stage, default_queue: str) -> Arrival:
    members = [(step.name, step.queue or default_queue) for step in stage]
    then = PutBack(
        stage[0].name,
        default_queue,
        delay=float("inf"),
        reason="children",
        waiting_for=", ".join(step.name for step in stage)[:2000],
        rest="branches",
    )
    return Arrival(then, ForkGroup(members))


def _at_map(step: Step, input: bytes, outputs: Mapping[str, bytes], queue: str) -> Arrival | None:
    items = items_of(step, input, outputs)
    if not items:
        return None
    assert step.mapped is not None
    then = PutBack(
        step.name,
        queue,
        delay=float("inf"),
        reason="children",
        waiting_for=f"{len(items)} items of {step.name}",
        rest="branches",
    )
    fork = ForkMap(step.name, queue, step.version, to_json(items), step.mapped.max_parallel)
    return Arrival(then, fork)


def items_of(step: Step, input: bytes, outputs: Mapping[str, bytes]) -> list[Any]:
    """The items of a map as plain JSON values.

    Raises CannotFork.
    """
    mapped = step.mapped
    assert mapped is not None
    if mapped.from_input:
        items = from_json(input).get(mapped.over)
        what = f"field '{mapped.over}' of the input"
    else:
        items = from_json(outputs.get(mapped.over, b"null"))
        what = f"the output of step '{mapped.over}'"
    if not isinstance(items, list):
        raise CannotFork(f"map '{step.name}': {what} is no list")
    if len(items) > MOST_ITEMS:
        raise CannotFork(
            f"map '{step.name}': {what} has {len(items)} items, more than {MOST_ITEMS}: "
            "map over pages of them, or enqueue a run for each"
        )
    return items


def _at_wait(step: Step, input: bytes, queue: str) -> Arrival:
    wait = step.wait
    assert wait is not None
    field, value = _wanted(step, wait, input)
    what = f"event {wait.event}" + (f" ({field}={value})" if field else "")
    then = PutBack(
        step.name,
        queue,
        delay=float("inf") if wait.timeout is None else wait.timeout,
        reason="event",
        waiting_for=what[:2000],
        rest="event",
    )
    return Arrival(then, wait=NewWait(step.name, wait.event, field, value, wait.timeout))


def _wanted(step: Step, wait: Wait, input: bytes) -> tuple[str, str]:
    if wait.match is None:
        return "", ""
    if callable(wait.match):
        field, value = wait.match(step.read_input(input))
        return field, event_text(from_json(to_json(value)))
    return wait.match, event_text(from_json(input).get(wait.match))


def event_text(value: object) -> str:
    """A plain JSON value as the text by which events are matched."""
    return value if isinstance(value, str) else to_json(value).decode()
