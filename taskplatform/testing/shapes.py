"""How each kind of step takes its way in process."""

from collections.abc import Mapping

from taskplatform.core.shapes import Kind
from taskplatform.core.step import Step
from taskplatform.testing.side_by_side import Branch
from taskplatform.testing.simulation import Shape, Simulation


def body(run: Simulation, step: Step) -> Branch:
    """A step's own function."""
    output = yield from run.body(step, run.records[step.name])
    run.store(step, output)


def sleep(run: Simulation, step: Step) -> Branch:
    """The time that passes."""
    assert step.sleep is not None
    yield run.world.clock.now + step.sleep
    run.store(step, b"null")


SHAPES: Mapping[Kind, Shape] = {Kind.BODY: body, Kind.SLEEP: sleep}
