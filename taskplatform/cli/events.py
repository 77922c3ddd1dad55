"""`taskplatform events`."""

from uuid import UUID

import rich_click as click

from taskplatform.cli import place
from taskplatform.cli.output import output_option, write, write_json
from taskplatform.cli.parsing import Input
from taskplatform.client.events import send_event


@click.group()
def events() -> None:
    """Send events to the runs that wait for them.

    \b
    taskplatform events send order.approved --data '{"number": "7"}'
    """


@events.command()
@click.argument("name")
@click.option(
    "--data",
    type=Input(),
    default=b"{}",
    metavar="JSON|@FILE|-",
    help="The event's data; {} if not given, - reads stdin.",
)
@click.option("--id", "event_id", type=click.UUID, help="Sent again with the same id, it is one.")
@output_option
def send(name: str, data: bytes, event_id: UUID | None, form: str) -> None:
    """Send an event; print its id.

    \b
    taskplatform events send order.approved --data '{"number": "7"}'
    taskplatform events send order.approved --data @approval.json --id 0192aa00-...
    taskplatform events send order.approved --data - -o json < approval.json

    Once this returns it is stored durably. Runs that wait for it go on; a run that exists and
    has not reached its wait yet finds it there. It also starts the handlers of that event.
    """
    # A wait that is declared here says whether it could read the data.
    place.pipelines_if_possible()
    place.servers()
    sent = send_event(name, data, id=event_id)
    if form == "table":
        write(str(sent))
    else:
        write_json({"id": sent, "name": name}, form)
