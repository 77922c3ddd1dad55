"""`taskplatform breakers`."""

import dataclasses

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
from taskplatform.cli.parsing import Length
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.core.names import near
from taskplatform.errors import NotFound
from taskplatform.storage import breakers as storage
from taskplatform.storage.breakers import Told


@click.group()
def breakers() -> None:
    """Breakers of APIs outside: their state, opened and closed by hand.

    \b
    taskplatform breakers list
    taskplatform breakers open spotify-api --for 10m --why "they said so"
    taskplatform breakers close spotify-api
    """


@breakers.command("list")
@output_option
def list_command(form: str) -> None:
    """List the breakers that are declared or in use: what ended lately, and how much waits.

    \b
    taskplatform breakers list -o json
    """
    place.pipelines_if_possible()
    place.servers()
    found = _found()
    if form != "table":
        write_rows([dataclasses.asdict(one) for one in found.values()], form)
        return
    if not found:
        note("no pipeline here declares a breaker, and none is in use")
        return
    made = table("name", "state", "failed", "waiting", "since", "why", whole=("name", "state"))
    for one in found.values():
        made.add_row(
            one.name,
            _state(one),
            f"{one.failed}/{one.failed + one.passed}",
            str(one.waiting),
            "" if one.since is None else words.moment(one.since),
            one.why or "",
        )
    write_table(made)


@breakers.command("open")
@click.argument("name", metavar="NAME")
@click.option("--for", "seconds", type=Length(), help="Until it is tried again.")
@click.option("--why", metavar="TEXT", default="opened by hand", help="Shown with it.")
@output_option
def open_command(name: str, seconds: float | None, why: str, form: str) -> None:
    """Let no step that uses the API start; without --for until it is closed by hand.

    \b
    taskplatform breakers open spotify-api --for 10m

    Bodies that run may end.
    """
    _known(name)
    call(lambda connection, _: storage.open_by_hand(connection, name, seconds, why))
    _tell(name, f"{name} is open", form)


@breakers.command("close")
@click.argument("name", metavar="NAME")
@output_option
def close_command(name: str, form: str) -> None:
    """Let steps that use the API start again, at once, and forget what failed.

    \b
    taskplatform breakers close spotify-api
    """
    _known(name)
    closed = call(lambda connection, again: storage.close_by_hand(connection, name) or again)
    _tell(name, f"{name} is closed" if closed else f"{name} was closed", form)


def _found() -> dict[str, Told]:
    names = sorted(
        {breaker.name for one in registry.all() for step in one.steps for breaker in step.breakers}
    )
    used = {one.name: one for one in call(lambda connection, _: storage.told(connection))}
    unused = {name: Told(name) for name in names if name not in used}
    return dict(sorted({**used, **unused}.items()))


def _known(name: str) -> None:
    place.pipelines_if_possible()
    place.servers()
    found = _found()
    if name not in found:
        raise NotFound(f"no breaker is named '{name}'{near(name, found)}")


def _state(one: Told) -> str:
    if one.state == "half-open":
        return f"half-open, {one.trying} of {one.level} let through"
    if one.state == "open":
        until = "it is closed by hand" if one.until is None else words.moment(one.until)
        return f"open until {until}"
    return one.state


def _tell(name: str, said: str, form: str) -> None:
    if form == "table":
        write(Text(said))
        return
    write_json(dataclasses.asdict(_found()[name]), form)
