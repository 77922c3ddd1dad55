"""`taskplatform keys`."""

import rich_click as click

from taskplatform.cli import place, wider_pauses
from taskplatform.cli.output import output_option
from taskplatform.core import registry


@click.group()
def keys() -> None:
    """Pause and resume single keys of a pipeline.

    \b
    taskplatform keys pause enrich-track t-1
    """


@keys.command("list")
@output_option
def list_command(form: str) -> None:
    """List the keys that are paused.

    \b
    taskplatform keys list -o json
    """
    wider_pauses.write_list("key", form)


@keys.command()
@click.argument("pipeline", metavar="PIPELINE")
@click.argument("name", metavar="KEY")
@wider_pauses.why_option
@output_option
def pause(pipeline: str, name: str, why: str | None, form: str) -> None:
    """Let nothing of a key of a pipeline start until it is resumed.

    \b
    taskplatform keys pause enrich-track t-1

    Its run is set aside when it comes to the head of its queue.
    """
    place.pipelines()
    registry.get(pipeline)
    wider_pauses.pause("key", name, why, form, pipeline)


@keys.command()
@click.argument("pipeline", metavar="PIPELINE")
@click.argument("name", metavar="KEY")
@output_option
def resume(pipeline: str, name: str, form: str) -> None:
    """Let it go on, within a second.

    \b
    taskplatform keys resume enrich-track t-1
    """
    wider_pauses.resume("key", name, form, pipeline)
