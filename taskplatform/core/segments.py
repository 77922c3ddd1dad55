"""Which step comes next, and which ones execute together."""

from collections.abc import Mapping
from typing import Any

from taskplatform.core.pipeline import Declaration
from taskplatform.core.step import Step


def next_step(declaration: Declaration[Any], done: Mapping[str, int]) -> Step | None:
    """The step to execute next, by the code as it is now; None: the run is complete.

    `done` has the version of each stored output. It is the first declared step without an
    output, or whose version changed in a run that has not passed it: no later declared step
    has an output.
    """
    steps = declaration.steps
    last = max((index for index, step in enumerate(steps) if step.name in done), default=-1)
    for index, step in enumerate(steps):
        if step.name not in done or (index == last and done[step.name] != step.version):
            return step
    return None


def same_segment(declaration: Declaration[Any], a: Step, b: Step, default_queue: str) -> bool:
    """Whether b may follow a within one shift: on the same queue, and with nothing to wait for."""
    default = declaration.queue or default_queue
    return (a.queue or default) == (b.queue or default) and not b.throttles
