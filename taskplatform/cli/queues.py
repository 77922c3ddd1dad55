"""`taskplatform queues`."""

import rich_click as click
from rich.text import Text

from taskplatform.cli import wider_pauses, words
from taskplatform.cli.output import note, output_option, table, write_rows, write_table
from taskplatform.client.session import call
from taskplatform.storage import queues as storage


@click.group()
def queues() -> None:
    """What is ready on which queue; pause and resume one.

    \b
    taskplatform queues list
    taskplatform queues pause gpu --why "new drivers"
    """


@queues.command("list")
@output_option
def list_command(form: str) -> None:
    """List the queues on which something is ready, and those that are paused.

    \b
    taskplatform queues list -o json
    """
    pauses = {one.name: one for one in wider_pauses.found("queue")}
    ready = call(lambda connection, _: storage.ready(connection))
    rows = [
        {
            "queue": name,
            "ready": ready.get(name, 0),
            "paused_since": pauses[name].since if name in pauses else None,
            "why": pauses[name].why if name in pauses else None,
        }
        for name in sorted({*ready, *pauses})
    ]
    if form != "table":
        write_rows(rows, form)
        return
    if not rows:
        note("nothing is ready, and no queue is paused")
        return
    made = table("queue", "ready", "paused since", "why", right=("ready",))
    for row in rows:
        since = pauses[str(row["queue"])].since if row["queue"] in pauses else None
        made.add_row(
            Text(str(row["queue"])),
            str(row["ready"]),
            words.moment(since),
            Text(str(row["why"] or "")),
        )
    write_table(made)


@queues.command()
@click.argument("name", metavar="QUEUE")
@wider_pauses.why_option
@output_option
def pause(name: str, why: str | None, form: str) -> None:
    """Let nothing of a queue start until it is resumed.

    \b
    taskplatform queues pause gpu --why "new drivers"

    Bodies that run may end; what comes waits, as queued.
    """
    wider_pauses.pause("queue", name, why, form)


@queues.command()
@click.argument("name", metavar="QUEUE")
@output_option
def resume(name: str, form: str) -> None:
    """Let a paused queue go on.

    \b
    taskplatform queues resume gpu
    """
    wider_pauses.resume("queue", name, form)
