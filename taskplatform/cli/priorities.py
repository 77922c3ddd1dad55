"""`taskplatform pipelines priority`."""

from typing import Any

import rich_click as click
from rich.text import Text

from taskplatform.cli import place
from taskplatform.cli.output import output_option, write, write_json
from taskplatform.client.numbers import priority_of
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.storage import priorities as storage


@click.command()
@click.argument("name", metavar="PIPELINE")
@click.argument("value", metavar="[N]", type=int, required=False)
@click.option("--reset", is_flag=True, help="Back to 0.")
@output_option
def priority(name: str, value: int | None, reset: bool, form: str) -> None:
    """Show or set the priority of new runs that are given none, without a deploy.

    \b
    taskplatform pipelines priority demo 10
    taskplatform pipelines priority demo -- -300
    taskplatform pipelines priority demo --reset

    It is remembered. Runs that are in line keep theirs, see `runs priority`.
    """
    if reset and value is not None:
        raise click.UsageError("give either N or --reset")
    place.pipelines()
    place.servers()
    found = registry.get(name)
    if reset or value is not None:
        given = None if value is None else priority_of(value)
        call(lambda connection, _: storage.set_of_pipeline(connection, found.name, given))
    now = call(lambda connection, _: storage.of_pipelines(connection)).get(found.name, 0)
    _tell({"pipeline": found.name, "priority": now}, form)


def _tell(state: dict[str, Any], form: str) -> None:
    if form == "table":
        write(Text(f"new runs of {state['pipeline']} have priority {state['priority']}"))
    else:
        write_json(state, form)
