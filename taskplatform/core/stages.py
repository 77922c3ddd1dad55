"""Stages: what of a pipeline executes side by side."""

from collections.abc import Sequence

from taskplatform.core.step import Step

Stage = tuple[Step, ...]


def staged(steps: Sequence[Step]) -> tuple[Stage, ...]:
    """The steps in order of declaration; neighbours of one group are one stage."""
    found: list[list[Step]] = []
    for step in steps:
        if found and step.group is not None and found[-1][-1].group == step.group:
            found[-1].append(step)
        else:
            found.append([step])
    return tuple(map(tuple, found))
