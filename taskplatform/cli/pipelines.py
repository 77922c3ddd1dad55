"""`taskplatform pipelines`."""

import logging
from collections.abc import Mapping
from typing import Any

import rich_click as click
from rich.text import Text

from taskplatform.cli import pauses, place, priorities, step_shape, words
from taskplatform.cli.output import (
    note,
    output_option,
    table,
    write,
    write_json,
    write_rows,
    write_table,
)
from taskplatform.cli.plan import plan
from taskplatform.core import registry
from taskplatform.core.names import HANDLER_PREFIX
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.step import Step
from taskplatform.errors import TaskPlatformError
from taskplatform.settings import get_settings
from taskplatform.storage.pauses import Pause

logger = logging.getLogger(__name__)


@click.group()
def pipelines() -> None:
    """What pipelines there are, and what they would do with open runs.

    \b
    taskplatform pipelines list
    taskplatform pipelines show demo
    taskplatform pipelines plan
    taskplatform pipelines pause demo
    taskplatform pipelines priority demo -- -300
    """


for _command in (plan, pauses.pause, pauses.resume, priorities.priority):
    pipelines.add_command(_command)


@pipelines.command("list")
@output_option
def list_command(form: str) -> None:
    """List the pipelines that the setting PIPELINES imports.

    \b
    taskplatform pipelines list -o json
    """
    place.pipelines()
    found = [one for one in registry.all() if not one.name.startswith(HANDLER_PREFIX)]
    paused = _paused()
    if form != "table":
        write_rows([_described(one, paused) for one in found], form)
        return
    made = table("name", "steps", "queue", "declared at", whole=("name",), right=("steps",))
    for one in found:
        made.add_row(one.name, str(len(one.steps)), one.queue or get_settings().queue, one.place)
    write_table(made)
    for one in found:
        if pause := paused.get(one.name):
            note(f"{one.name} is {pauses.told(pause)}")


@pipelines.command()
@click.argument("name", metavar="PIPELINE")
@output_option
def show(name: str, form: str) -> None:
    """Show a pipeline: its input, its steps, their shapes and policies.

    \b
    taskplatform pipelines show demo
    taskplatform pipelines show demo -o json     (with the input's JSON schema)
    """
    place.pipelines()
    found = registry.get(name)
    paused = _paused()
    if form != "table":
        write_json(_described(found, paused), form)
        return
    write(Text.assemble((found.name, "bold"), (f"  {found.place}", "dim")))
    if pause := paused.get(name):
        write(Text(pauses.told(pause), "yellow"))
    write(Text())
    _write_fields(found)
    write(Text())
    made = table("step", "does", "takes", "retry", "timeout", "queue", "throttle", whole=("step",))
    for step in found.steps:
        made.add_row(
            step.name,
            step_shape.told(step),
            ", ".join(step.parameters),
            _policy(step.retry) if step.has_body else "",
            words.length(step.timeout) if step.has_body else "",
            step.queue or get_settings().queue,
            ", ".join(f"{one.name} {one.limit}/{words.length(one.per)}" for one in step.throttles),
        )
    write_table(made)


def _write_fields(found: Declaration[Any]) -> None:
    made = table("input", "type", "default", whole=("input",))
    for name, field in found.input.model_fields.items():
        kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
        plain = isinstance(field.annotation, type)
        made.add_row(
            name,
            Text(kind if plain else str(field.annotation).replace("typing.", "")),
            Text(
                "required"
                if field.is_required()
                else repr(field.get_default(call_default_factory=True))
            ),
        )
    write_table(made)


def _paused() -> dict[str, Pause]:
    # What is declared can be shown without a database, too.
    try:
        return pauses.paused()
    except TaskPlatformError as error:
        logger.warning("whether they are paused is not known: %s", error)
        return {}


def _described(found: Declaration[Any], paused: Mapping[str, Pause]) -> dict[str, Any]:
    return {
        "name": found.name,
        "paused": pauses.described(paused.get(found.name)),
        "declared_at": found.place,
        "queue": found.queue or get_settings().queue,
        "timeout": found.timeout,
        "run_timeout": found.run_timeout,
        "queue_timeout": found.queue_timeout,
        "idempotency": found.idempotency,
        "input_schema": found.input.model_json_schema(),
        "steps": [_described_step(step) for step in found.steps],
    }


def _described_step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "task": step.task_name,
        "parameters": step.parameters,
        "queue": step.queue or get_settings().queue,
        "timeout": step.timeout,
        "version": step.version,
        **step_shape.described(step),
        "retry": {"retries": step.retry.retries, "delays": step.retry.delays},
        "throttles": [
            {"name": one.name, "limit": one.limit, "per": one.per} for one in step.throttles
        ],
    }


def _policy(retry: Retry) -> str:
    if not retry.retries:
        return "none"
    if retry.delays is not None:
        return "after " + ", ".join(words.length(delay) for delay in retry.delays)
    return f"{retry.retries} times, from {words.length(retry.base)}"
