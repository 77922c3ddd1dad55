"""`taskplatform concurrency`."""

import dataclasses
from typing import Any

import rich_click as click
from rich.text import Text

from taskplatform.cli import place, words
from taskplatform.cli.output import (
    note,
    output_option,
    table,
    write,
    write_json,
    write_rows,
    write_table,
)
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.core.concurrency import declared
from taskplatform.core.names import near
from taskplatform.errors import NotFound
from taskplatform.storage import limits, usage

_LARGEST = 100_000


@click.group()
def concurrency() -> None:
    """Concurrency limits: how much of them is taken, and changes.

    \b
    taskplatform concurrency list
    taskplatform concurrency set gpu 10
    taskplatform concurrency reset gpu
    """


@concurrency.command("list")
@output_option
def list_command(form: str) -> None:
    """List the limits that are declared, taken or waited for, with each key that is in use.

    \b
    taskplatform concurrency list -o json
    """
    place.pipelines_if_possible()
    place.servers()
    found = call(lambda connection, _: usage.concurrency(connection, declared(registry.all())))
    if form != "table":
        write_rows([dataclasses.asdict(one) for one in found], form)
        return
    if not found:
        note("no pipeline here declares a concurrency limit, and none is in use")
        return
    made = table(
        "name",
        "key",
        "taken",
        "waiting",
        "by hand since",
        whole=("name", "key"),
        right=("taken", "waiting"),
    )
    for one in found:
        made.add_row(
            one.name,
            one.key,
            f"{one.taken}/{'?' if one.most is None else one.most}",
            str(one.waiting),
            "" if one.changed_at is None else words.moment(one.changed_at),
        )
    write_table(made)


@concurrency.command("set")
@click.argument("name", metavar="NAME")
@click.argument("most", metavar="N", type=click.IntRange(0, _LARGEST))
@output_option
def set_command(name: str, most: int, form: str) -> None:
    """Set a limit, for each of its keys; 0 lets nothing start. It is remembered.

    \b
    taskplatform concurrency set gpu 10

    What has begun goes on: with a lower limit, nothing starts until enough of it has ended.
    """
    _known(name)
    call(lambda connection, _: limits.put(connection, "concurrency", name, most, None))
    _tell(name, most, f"{name} is {most} now", form)


@concurrency.command("reset")
@click.argument("name", metavar="NAME")
@output_option
def reset_command(name: str, form: str) -> None:
    """Let a limit be again as it is declared.

    \b
    taskplatform concurrency reset gpu
    """
    place.pipelines_if_possible()
    place.servers()
    gone = call(lambda connection, again: limits.reset(connection, "concurrency", name) or again)
    most = declared(registry.all()).get(name)
    if not gone and most is None:
        _known(name)
    said = f"{name} is as declared" + ("" if most is None else f", {most}")
    _tell(name, most, said if gone else f"{name} was not set by hand", form)


def _known(name: str) -> None:
    place.pipelines_if_possible()
    place.servers()
    known = declared(registry.all())
    used = call(lambda connection, _: usage.concurrency(connection, known))
    names = {*known, *(one.name for one in used)}
    if name not in names:
        raise NotFound(f"no concurrency limit is named '{name}'{near(name, names)}")


def _tell(name: str, most: int | None, said: str, form: str) -> None:
    if form == "table":
        write(Text(said))
        return
    state: dict[str, Any] = {"name": name, "most": most}
    write_json(state, form)
