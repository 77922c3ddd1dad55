"""What `queues`, `owners` and `keys` have in common: to pause, to resume, to list."""

import dataclasses
from typing import Any

import rich_click as click
from rich.text import Text

from taskplatform.cli import place, words
from taskplatform.cli.output import note, table, write, write_json, write_rows, write_table
from taskplatform.client import pausing
from taskplatform.client.session import call
from taskplatform.storage import paused
from taskplatform.storage.paused import WiderPause

why_option = click.option("--why", metavar="TEXT", help="Shown in the list.")


def pause(kind: str, name: str, why: str | None, form: str, pipeline: str = "") -> None:
    """Pause it, and tell."""
    place.servers()
    changed = pausing.pause_other(kind, name, why, pipeline=pipeline)
    _tell(kind, name, changed, "is paused" if changed else "was paused already", form)


def resume(kind: str, name: str, form: str, pipeline: str = "") -> None:
    """Let it go on, and tell."""
    place.servers()
    changed = pausing.resume_other(kind, name, pipeline=pipeline)
    _tell(kind, name, changed, "goes on" if changed else "was not paused", form)


def found(kind: str) -> list[WiderPause]:
    """The pauses of a kind."""
    place.servers()
    return call(lambda connection, _: paused.wider_pauses(connection, kind))


def write_list(kind: str, form: str) -> None:
    """Print them."""
    pauses = found(kind)
    if form != "table":
        write_rows([dataclasses.asdict(one) for one in pauses], form)
        return
    if not pauses:
        note(f"no {kind} is paused")
        return
    of_pipelines = ["pipeline"] if kind == "key" else []
    made = table(*of_pipelines, kind, "paused since", "why")
    for one in pauses:
        cells: list[Any] = [one.pipeline] if of_pipelines else []
        made.add_row(*cells, Text(one.name), words.moment(one.since), Text(one.why or ""))
    write_table(made)


def _tell(kind: str, name: str, changed: bool, what: str, form: str) -> None:
    if form == "table":
        write(Text(f"{kind} {name} {what}"))
    else:
        write_json({kind: name, "changed": changed}, form)
