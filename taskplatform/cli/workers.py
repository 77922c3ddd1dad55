"""`taskplatform workers`."""

import dataclasses

import rich_click as click

from taskplatform.cli import place, words
from taskplatform.cli.output import note, output_option, table, write_rows, write_table
from taskplatform.client.session import call
from taskplatform.storage import workers as storage


@click.group()
def workers() -> None:
    """Which workers are alive, and what they serve.

    \b
    taskplatform workers list
    """


@workers.command("list")
@output_option
def list_command(form: str) -> None:
    """List the workers that are alive.

    \b
    taskplatform workers list -o json
    """
    place.servers()
    found = call(lambda connection, _: storage.live(connection))
    if form != "table":
        write_rows([dataclasses.asdict(one) for one in found], form)
        return
    if not found:
        note("no worker is alive; start one with `celery -A taskplatform worker`")
        return
    made = table(
        "name",
        "pid",
        "busy",
        "claims/s",
        "queues",
        "pipelines",
        "up",
        "silent",
        whole=("name",),
        right=("pid", "claims/s"),
    )
    for one in found:
        made.add_row(
            one.name,
            str(one.pid),
            f"{one.busy}/{one.concurrency} {one.pool}",
            f"{one.claims_per_second:.1f}",
            ", ".join(one.queues),
            ", ".join(one.pipelines),
            words.took(one.started_at, None),
            words.length(one.silent_for),
        )
    write_table(made)
