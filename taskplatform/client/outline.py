"""What the code here would do with a run that stands somewhere, without looking at values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskplatform.core.binding import Source
from taskplatform.core.json import Codec
from taskplatform.core.names import COMPENSATION
from taskplatform.core.pipeline import Declaration
from taskplatform.core.segments import next_compensation, next_stage
from taskplatform.core.shapes import Kind
from taskplatform.core.step import Step

# How the pipeline's input is named among what steps need; no step can have that name.
INPUT = "input"


@dataclass(frozen=True, slots=True)
class Reader:
    """A step that would read something stored; as a map it reads its elements, in `field`."""

    step: str
    codec: Codec | None
    maps: bool = False
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """Which outputs are reused, which steps execute, which outputs belong to no step.

    `next` are the steps that come first, side by side. `readers` has who would read the input or
    an output that is reused; `item_readers` has the maps that would execute.
    """

    reuse: tuple[str, ...]
    execute: tuple[str, ...]
    drop: tuple[str, ...]
    next: tuple[str, ...]
    readers: Mapping[str, Sequence[Reader]] = field(default_factory=dict)
    item_readers: Mapping[str, Step] = field(default_factory=dict)


def outline(declaration: Declaration[Any], done: Mapping[str, int], failing: bool) -> Outline:
    """Walk through the stages as the executor would; `failing` runs only compensate."""
    walk = _compensations if failing else _stages
    stages = walk(declaration, done)
    steps = [step for stage in stages for step in stage]
    execute = {step.name for step in steps}
    declared = [step.name for step in declaration.steps]
    reuse = tuple(name for name in declared if name in done and name not in execute)
    return Outline(
        reuse=reuse,
        execute=tuple(step.name for step in steps),
        drop=tuple(sorted(name for name in done if not _belongs(name, declared))),
        next=tuple(step.name for step in stages[0]) if stages else (),
        readers=_readers(steps, {INPUT, *reuse}),
        item_readers={step.name: step for step in steps if step.kind is Kind.MAP},
    )


def _stages(declaration: Declaration[Any], done: Mapping[str, int]) -> list[tuple[Step, ...]]:
    found: list[tuple[Step, ...]] = []
    known = dict(done)
    while stage := next_stage(declaration, known):
        found.append(stage)
        known |= {step.name: step.version for step in stage}
    return found


def _compensations(
    declaration: Declaration[Any], done: Mapping[str, int]
) -> list[tuple[Step, ...]]:
    found: list[tuple[Step, ...]] = []
    known = dict(done)
    while (step := next_compensation(declaration, known)) is not None:
        found.append((step,))
        known[step.name] = step.version
    return found


def _belongs(name: str, declared: Sequence[str]) -> bool:
    return name in declared or name.removesuffix(COMPENSATION) in declared


def _readers(steps: Sequence[Step], stored: set[str]) -> dict[str, list[Reader]]:
    found: dict[str, list[Reader]] = {}

    def add(what: str, reader: Reader) -> None:
        if what in stored:
            found.setdefault(what, []).append(reader)

    for step in steps:
        for binding in step.bound.bindings:
            if binding.source is Source.INPUT:
                add(INPUT, Reader(step.name, step.input))
            elif binding.source is Source.OUTPUT:
                add(binding.step, Reader(step.name, binding.codec))
        if step.mapped is not None:
            from_input = step.mapped.from_input
            what = INPUT if from_input else step.mapped.over
            field = step.mapped.over if from_input else None
            add(what, Reader(step.name, item_codec(step), maps=True, field=field))
    return found


def item_codec(step: Step) -> Codec | None:
    """How a map reads an item; None: it does not ask for it."""
    return next((one.codec for one in step.bound.bindings if one.source is Source.ITEM), None)
