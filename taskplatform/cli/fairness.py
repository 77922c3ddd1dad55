"""`taskplatform fairness`."""

import dataclasses
import math

import rich_click as click
from rich.text import Text

from taskplatform.cli import place, words
from taskplatform.cli.output import note, output_option, table, write, write_rows, write_table
from taskplatform.client.session import call
from taskplatform.storage import lanes


@click.group()
def fairness() -> None:
    """Who shares the queues, with what weight, and what they have used.

    \b
    taskplatform fairness list
    taskplatform fairness set acme 3
    """


@fairness.command("list")
@output_option
def list_command(form: str) -> None:
    """List the fair keys that are at work on a queue, and the weights that were set.

    \b
    taskplatform fairness list -o json

    `used` is worker time since a key was last idle, `ahead` how far it is before the one that is
    served next, by its weight.
    """
    place.servers()
    found = call(lambda connection, _: lanes.in_use(connection))
    at_work = {one.fair_key for one in found}
    weights = call(lambda connection, _: lanes.weights(connection))
    rows = [dataclasses.asdict(one) for one in found] + [
        {"queue": None, "fair_key": name, "weight": weight, "used": 0.0, "ahead": 0.0, "ready": 0}
        for name, weight in weights.items()
        if name not in at_work
    ]
    if form != "table":
        write_rows(rows, form)
        return
    if not rows:
        note("no fair key is at work, and no weight is set")
        return
    made = table("queue", "fair key", "weight", "used", "ahead", "ready", right=("weight", "ready"))
    for row in rows:
        made.add_row(
            row["queue"] or "",
            Text(row["fair_key"] or "(none)"),
            f"{row['weight']:g}",
            words.length(row["used"]),
            words.length(row["ahead"]),
            str(row["ready"]),
        )
    write_table(made)


@fairness.command("set")
@click.argument("key", metavar="KEY")
@click.argument("weight", metavar="WEIGHT", type=float)
def set_command(key: str, weight: float) -> None:
    """Give a fair key a weight, on all queues; 1 is usual.

    \b
    taskplatform fairness set acme 3

    With 3 it has three times the worker time of others, while it has work. It is remembered.
    """
    if not (math.isfinite(weight) and 0.001 <= weight <= 1000):
        raise click.UsageError(f"weight {weight:g}: give a number from 0.001 to 1000")
    place.servers()
    call(lambda connection, _: lanes.weigh(connection, key, weight))
    write(Text(f"{key} has weight {weight:g}"))


@fairness.command("reset")
@click.argument("key", metavar="KEY")
def reset_command(key: str) -> None:
    """Give a fair key the usual weight again.

    \b
    taskplatform fairness reset acme
    """
    place.servers()
    call(lambda connection, _: lanes.weigh(connection, key, None))
    write(Text(f"{key} has weight 1"))
