"""Where an old run goes on, and how a new one is made from it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from taskplatform.client.session import call
from taskplatform.client.unset import Unset
from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.core.names import near
from taskplatform.core.pipeline import Declaration
from taskplatform.core.segments import next_step
from taskplatform.core.step import Step
from taskplatform.errors import InvalidInput, RunNotFound
from taskplatform.settings import get_settings
from taskplatform.storage import history
from taskplatform.storage import replay as storage
from taskplatform.storage.history_rows import RunRow
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.retry import Next

Input = BaseModel | Mapping[str, Any] | str | bytes


def plan(pipeline: str, done: Mapping[str, int]) -> Next:
    """The step at which a run goes on, by the code as it is here.

    Raises PipelineNotFound if this process does not know the pipeline.
    """
    declaration = registry.get(pipeline)
    # With nothing left to execute, the worker that claims it only closes the run.
    step = next_step(declaration, done) or declaration.steps[-1]
    return Next(
        step.name,
        _queue(step),
        declaration.run_timeout,
        declaration.queue_timeout,
        get_settings().priority_ageing,
    )


def replay(run_id: UUID, from_step: str | None, input: Input | Unset) -> tuple[Enqueued, str]:
    """Store a replay; also the queue on which it is.

    Raises RunNotFound, PipelineNotFound, InvalidInput and Conflict.
    """
    old = call(lambda connection, _: history.get(connection, run_id))
    if old is None:
        raise RunNotFound(f"there is no run {run_id}")
    declaration = registry.get(old.run.pipeline)
    declaration.check_keys()
    reused = _before(declaration, from_step)
    done = {result.step: result.version for result in old.results if result.step in reused}
    first = next_step(declaration, done)
    # Without all of them the storage says which is missing.
    if first is None or len(done) < len(reused):
        first = declaration.steps[0]
    new = _new_run(declaration, old.run, input, first, from_step)
    return call(lambda connection, _: storage.replay(connection, new, reused)), new.queue


def _before(declaration: Declaration[Any], from_step: str | None) -> list[str]:
    names = [step.name for step in declaration.steps]
    if from_step is None:
        return []
    if from_step not in names:
        raise InvalidInput(
            f"pipeline {declaration.name!r} has no step {from_step!r}{near(from_step, names)}; "
            f"its steps are {', '.join(names)}"
        )
    return names[: names.index(from_step)]


def _new_run(
    declaration: Declaration[Any],
    old: RunRow,
    input: Input | Unset,
    first: Step,
    from_step: str | None,
) -> NewRun:
    if isinstance(input, Unset):
        try:
            model = declaration.validate(old.input, stored=True)
        except InvalidInput as error:
            raise InvalidInput(
                f"the input of run {old.id} does not fit {old.pipeline!r} any more: give the "
                f"replay another ({error})"
            ) from error
        data, key, owner, priority = old.input, old.key, old.owner, old.priority
    else:
        model, data = declaration.accept(input)
        key = declaration.key_of(model)
        owner = declaration.owner_of(model) or old.owner
        priority = declaration.priority_of(model)
    return NewRun(
        id=uuid7(),
        pipeline=old.pipeline,
        first_step=first.name,
        queue=_queue(first),
        input=data,
        key=key,
        owner=owner,
        fair_key=declaration.fair_key_of(model, owner),
        priority=priority,
        ageing=get_settings().priority_ageing,
        run_timeout=declaration.run_timeout,
        queue_timeout=declaration.queue_timeout,
        replay_of=old.id,
        replay_from=from_step,
    )


def _queue(step: Step) -> str:
    return step.queue or get_settings().queue
