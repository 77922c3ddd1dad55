"""`taskplatform owners`."""

import rich_click as click

from taskplatform.cli import wider_pauses
from taskplatform.cli.output import output_option


@click.group()
def owners() -> None:
    """Pause and resume what runs for an owner.

    \b
    taskplatform owners pause acme
    """


@owners.command("list")
@output_option
def list_command(form: str) -> None:
    """List the owners that are paused.

    \b
    taskplatform owners list -o json
    """
    wider_pauses.write_list("owner", form)


@owners.command()
@click.argument("name", metavar="OWNER")
@wider_pauses.why_option
@output_option
def pause(name: str, why: str | None, form: str) -> None:
    """Let nothing of an owner start until it is resumed.

    \b
    taskplatform owners pause acme

    Work in a lane of that name is left where it is, as queued; what else is the owner's is set
    aside when it comes to the head of its queue.
    """
    wider_pauses.pause("owner", name, why, form)


@owners.command()
@click.argument("name", metavar="OWNER")
@output_option
def resume(name: str, form: str) -> None:
    """Let it go on, within a second.

    \b
    taskplatform owners resume acme
    """
    wider_pauses.resume("owner", name, form)
