"""`taskplatform pipelines pause` and `resume`."""

import dataclasses
from typing import Any

import rich_click as click
from rich.text import Text

from taskplatform.cli import place, words
from taskplatform.cli.output import note, output_option, write, write_json
from taskplatform.client import pausing
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.errors import Conflict
from taskplatform.storage import pauses as storage
from taskplatform.storage.pauses import Pause


@click.command()
@click.argument("name", metavar="PIPELINE")
@click.option("--why", metavar="TEXT", help="Shown with its runs, which wait for it.")
@output_option
def pause(name: str, why: str | None, form: str) -> None:
    """Let nothing of a pipeline start until it is resumed.

    \b
    taskplatform pipelines pause demo --why "the API is down until 18:00"

    Bodies that run may end; runs can be enqueued, and wait.
    """
    place.pipelines()
    place.servers()
    found = registry.get(name)
    _tell(found.name, pausing.pause(found.name, why), "is paused", "was paused already", form)


@click.command()
@click.argument("name", metavar="PIPELINE")
@click.option(
    "--canary", type=click.IntRange(1, 100), metavar="N", help="Only its N oldest waiting runs."
)
@output_option
def resume(name: str, canary: int | None, form: str) -> None:
    """Let a paused pipeline go on, whoever or whatever paused it.

    \b
    taskplatform pipelines resume demo
    taskplatform pipelines resume demo --canary 1     (one run goes; the others wait on)
    """
    place.pipelines_if_possible()
    place.servers()
    if canary is not None:
        _let_go(name, canary, form)
        return
    # One that is paused may be declared no more.
    if name not in paused():
        registry.get(name)
    _tell(name, pausing.resume(name), "goes on", "was not paused", form)


def _let_go(name: str, many: int, form: str) -> None:
    if name not in paused():
        registry.get(name)
        raise Conflict(f"pipeline {name} is not paused: all its runs go on")
    runs = [str(one) for one in pausing.canary(name, many)]
    if form != "table":
        write_json({"pipeline": name, "runs": runs}, form)
        return
    for one in runs:
        write(Text(f"run {one} goes on"))
    if len(runs) < many:
        note(f"{name} has no more runs that wait for it")


def paused() -> dict[str, Pause]:
    """The pauses by pipeline. Raises Unavailable."""
    return {one.pipeline: one for one in call(lambda connection, _: storage.pauses(connection))}


def described(found: Pause | None) -> dict[str, Any] | None:
    """A pause as JSON."""
    if found is None:
        return None
    return {name: value for name, value in dataclasses.asdict(found).items() if name != "pipeline"}


def told(found: Pause | None) -> str:
    """A pause in a few words."""
    if found is None:
        return ""
    by = "by its breaker" if found.reason == "breaker" else "by hand"
    return f"paused {by} since {words.moment(found.since)}" + (
        f": {found.why}" if found.why else ""
    )


def _tell(name: str, changed: bool, did: str, found: str, form: str) -> None:
    if form == "table":
        write(Text(f"{name} {did if changed else found}"))
        return
    state = {"pipeline": name, "changed": changed, "paused": described(paused().get(name))}
    write_json(state, form)
