"""Which steps come next, and which ones execute together."""

from collections.abc import Mapping
from typing import Any

from taskplatform.core.pipeline import Declaration
from taskplatform.core.stages import Stage
from taskplatform.core.step import Step


def next_stage(declaration: Declaration[Any], done: Mapping[str, int]) -> Stage:
    """The steps to execute next, by the code as it is now; none: the run is complete.

    `done` has the version of each stored output. It is what is missing of the first declared
    stage that misses something; also a step whose version changed, in a run that has not passed
    it: no later stage has an output.
    """
    declared = declaration.stages
    # Plain loops: this is asked once for every step that is executed.
    last = len(declared) - 1
    while last >= 0 and not _is_reached(declared[last], done):
        last -= 1
    for at, stage in enumerate(declared):
        for step in stage:
            version = done.get(step.name)
            if version is None or (at == last and version != step.version):
                return _missing(stage, done, at == last)
    return ()


def _is_reached(stage: Stage, done: Mapping[str, int]) -> bool:
    for step in stage:  # noqa: SIM110 a generator costs more than what it would look at
        if step.name in done:
            return True
    return False


def _missing(stage: Stage, done: Mapping[str, int], is_last: bool) -> Stage:
    if len(stage) == 1:
        return stage
    return tuple(
        step
        for step in stage
        if step.name not in done or (is_last and done[step.name] != step.version)
    )


def next_step(declaration: Declaration[Any], done: Mapping[str, int]) -> Step | None:
    """The first step of the next stage; None: the run is complete."""
    return next(iter(next_stage(declaration, done)), None)


def next_compensation(declaration: Declaration[Any], done: Mapping[str, int]) -> Step | None:
    """What has to be undone next in a run that failed for good: the latest finished step first."""
    for step in reversed(declaration.steps):
        undo = step.compensation
        if undo is not None and step.name in done and undo.name not in done:
            return undo
    return None


def output_steps(declaration: Declaration[Any]) -> tuple[str, ...]:
    """The steps whose outputs are the run's: of the last stage."""
    return tuple(step.name for step in declaration.stages[-1])


def same_segment(declaration: Declaration[Any], a: Step, b: Step, default_queue: str) -> bool:
    """Whether b may follow a within one shift: on the same queue, and with nothing to wait for."""
    if not b.is_body or b.is_limited:
        return False
    default = declaration.queue or default_queue
    return a.queue == b.queue or (a.queue or default) == (b.queue or default)
