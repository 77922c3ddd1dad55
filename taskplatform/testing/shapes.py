"""How each kind of step takes its way in process."""

from collections.abc import Callable, Mapping
from functools import partial

from pydantic_core import to_json

from taskplatform.core.failure import Failure
from taskplatform.core.item_error import ItemError
from taskplatform.core.outcome import Failed, Succeeded
from taskplatform.core.shapes import Kind
from taskplatform.core.step import Step
from taskplatform.executor.arrival import CannotFork, arrive, items_of
from taskplatform.testing.attempts import Execution
from taskplatform.testing.bodies import Ended, judged
from taskplatform.testing.children import child
from taskplatform.testing.ends import Failing
from taskplatform.testing.record import TestStep
from taskplatform.testing.side_by_side import Branch, side_by_side
from taskplatform.testing.simulation import Shape, Simulation, Turn
from taskplatform.testing.waits import awaited

OneAttempt = Callable[[Turn], Execution]


def _sleep(turn: Turn) -> Execution:
    assert turn.step.sleep is not None
    yield turn.run.world.clock.now + turn.step.sleep
    return Ended(Succeeded(b"null"))


def _wait(turn: Turn) -> Execution:
    run, step = turn.run, turn.step
    assert step.wait is not None
    try:
        arrival = arrive((step,), run.input, run.outputs, "")
    except Exception as error:
        return judged(error)
    assert arrival is not None
    assert arrival.wait is not None
    data = awaited(run, step, arrival.wait)
    if data is not None:
        return Ended(Succeeded(step.encode(data)))
    assert step.wait.timeout is not None
    yield run.world.clock.now + step.wait.timeout
    if step.wait.on_timeout == "none":
        return Ended(Succeeded(b"null"))
    message = f"no event '{step.wait.event}' came within {step.wait.timeout:g} s"
    return Ended(Failed(Failure("WaitTimedOut", message), permanent=True))


def _map(turn: Turn) -> Execution:
    run, step, record = turn.run, turn.step, turn.record
    try:
        items = items_of(step, run.input, run.outputs)
    except CannotFork as error:
        return Ended(Failed(Failure.of(error), permanent=True), error)
    except Exception as error:
        return judged(error)
    record.items = [TestStep(f"{step.name}[{index}]") for index in range(len(items))]
    outputs = [b"null"] * len(items)
    branches = [
        _item(run, step, one, index, to_json(item), outputs)
        for index, (one, item) in enumerate(zip(record.items, items, strict=True))
    ]
    yield from side_by_side(branches, run.world.clock)
    return Ended(Succeeded(b"[%s]" % b",".join(outputs)))


def _item(
    run: Simulation, step: Step, record: TestStep, index: int, item: bytes, outputs: list[bytes]
) -> Branch:
    assert step.mapped is not None
    try:
        outputs[index] = yield from run.body(step, record, item, index)
    except Failing as error:
        if step.mapped.on_item_error == "fail":
            raise
        failure = error.failure
        found = ItemError(index=index, type=failure.type, message=failure.message)
        outputs[index] = found.model_dump_json().encode()


def _shape(attempt: OneAttempt, run: Simulation, step: Step) -> Branch:
    record = run.records[step.name]
    output = yield from run.attempted(
        step, record, lambda number: attempt(Turn(run, step, record, number))
    )
    run.store(step, output)


def _body(turn: Turn) -> Execution:
    return turn.run.call(turn.step, turn.record, turn.number)


SHAPES: Mapping[Kind, Shape] = {
    Kind.BODY: partial(_shape, _body),
    Kind.MAP: partial(_shape, _map),
    Kind.SLEEP: partial(_shape, _sleep),
    Kind.WAIT: partial(_shape, _wait),
    Kind.CHILD: partial(_shape, child),
}
