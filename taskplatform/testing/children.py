"""Runs of other pipelines, executed in process too, or replaced by what the test gives."""

from typing import Any

from taskplatform.core.failure import Failure
from taskplatform.core.outcome import Failed, Succeeded
from taskplatform.core.step import Step
from taskplatform.testing.attempts import Execution
from taskplatform.testing.bodies import Ended, judged
from taskplatform.testing.ends import RunCancelled, Waiting
from taskplatform.testing.given import named
from taskplatform.testing.report import report, stored_output
from taskplatform.testing.simulation import Simulation, Turn


def child(turn: Turn) -> Execution:
    """Make the child's input and take its run to the end."""
    run, step = turn.run, turn.step
    assert step.child is not None
    made = yield from run.call(step, turn.record, turn.number)
    if not isinstance(made.outcome, Succeeded):
        return made
    declaration = step.child.declaration
    try:
        model, input = declaration.accept(made.outcome.output, stored=True)
    except Exception as error:
        return judged(error)
    is_given, value = named(run.world.given.children, step.name)
    if is_given:
        return _replaced(step, model, value)
    own = run.child(declaration, input, run.plan.inside(step.name))
    yield from own.play()
    run.children[step.name] = report(own)
    return _came_of(own, step)


def _came_of(own: Simulation, step: Step) -> Ended:
    match own.end:
        case None:
            return Ended(Succeeded(stored_output(own)))
        case Waiting() as waiting:
            what = f"run {own.id} of pipeline '{own.declaration.name}', which is {waiting.reason}"
            raise Waiting(step.name, f"{what}: {waiting.why}", waiting.cause)
        case RunCancelled():
            return _failed(f"child run {own.id} was cancelled")
        case _:
            assert own.failing is not None
            failure = own.failing.failure
            message = f"child run {own.id} failed: {failure.type}: {failure.message}"
            return _failed(message, own.failing.cause)


def _replaced(step: Step, input: Any, value: Any) -> Ended:
    """Without a run: an output, an exception, or a function of the child's input."""
    try:
        if callable(value) and not isinstance(value, type):
            value = value(input)
    except Exception as error:
        value = error
    if isinstance(value, BaseException):
        failure = Failure.of(value)
        return _failed(f"child run failed: {failure.type}: {failure.message}", value)
    try:
        return Ended(Succeeded(step.output.encode(value)))
    except ValueError as error:
        raise ValueError(f"children= has what is no output of '{step.name}': {error}") from None


def _failed(message: str, cause: BaseException | None = None) -> Ended:
    return Ended(Failed(Failure("ChildFailed", message)), cause)
