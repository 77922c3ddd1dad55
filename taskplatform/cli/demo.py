"""`taskplatform demo`."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Table

from taskplatform.cli import place
from taskplatform.cli.failures import Exit
from taskplatform.cli.output import console
from taskplatform.cli.tour import scenes
from taskplatform.cli.tour.stage import Failed, Stage, unreliable_api
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.errors import SettingsError
from taskplatform.settings import get_settings
from taskplatform.storage import workers

_NEEDED = ("demo", "tour", "scrape")


@click.command()
def demo() -> Exit:
    """The main job, a failure, a killed worker and a scrape, before your eyes.

    \b
    taskplatform demo

    Starts servers of its own in .taskplatform/ and two workers, and ends with exit code 0 only if
    everything was as it should be. Takes about half a minute.
    """
    settings = get_settings()
    if settings.database_url or settings.broker_url:
        raise SettingsError(
            "`taskplatform demo` kills workers and works on embedded servers only: unset "
            "TASKPLATFORM_DATABASE_URL and TASKPLATFORM_BROKER_URL for it"
        )
    place.pipelines()
    for name in _NEEDED:
        registry.get(name)
    out = console()
    out.print("[bold]taskplatform[/]: starting PostgreSQL, Valkey and two Celery workers …")
    place.servers()
    if call(lambda connection, _: workers.live(connection)):
        raise SettingsError(
            "a worker is running on these servers and would take part: stop it first, or use "
            "another folder: taskplatform --home .taskplatform-demo demo"
        )
    return _play(Stage(out, settings.home.resolve()))


def _play(stage: Stage) -> Exit:
    site_of = import_module("pipelines.local_site").LocalSite
    stamp = f"{datetime.now(UTC):%H%M%S}-{os.getpid()}"
    with site_of() as site, unreliable_api() as api_url:
        try:
            for name in ("anna", "bert"):
                stage.start_worker(name, {"SCRAPE_ALLOW_PRIVATE": site.address})
            stage.wait_for_workers()
            run = scenes.main_job(stage, stamp)
            tasks = [scenes.failure(stage, stamp, api_url), scenes.crash(stage, stamp)]
            scenes.scrape(stage, site.page_url("json"), site.feed_url)
            _summarise(stage, tasks)
        except Failed as failed:
            stage.check(str(failed), False)
        finally:
            stage.stop_workers()
            stage.ledger.unlink(missing_ok=True)
    if not all(holds for _, holds in stage.checks):
        stage.out.print("\n[bold red]Not everything was as it should be.[/]")
        stage.out.print(f"  What the workers printed: {stage.folder}/worker-*.log", soft_wrap=True)
        return Exit.FAILED
    _suggest(stage.out, str(run), stage.folder)
    return Exit.OK


def _summarise(stage: Stage, tasks: Sequence[str]) -> None:
    stage.scene("What was executed how often, counted by the steps themselves")
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    table.add_column("  step")
    for title in ("failed and retried", "worker killed"):
        table.add_column(title, justify="right")
    counts = [stage.executed(task) for task in tasks]
    for step in scenes.STEPS:
        table.add_row(f"  {step}", *(str(count[step]) for count in counts))
    stage.out.print(table)
    stage.say("(the killed execution of simulate-delay never ended, and is not counted)")


def _suggest(out: Console, run: str, folder: Path) -> None:
    out.print("\n[bold green]All of it was as it should be.[/] Everything is kept; try next:")
    for command in (
        "taskplatform runs list",
        f"taskplatform runs show {run}",
        "taskplatform dev --demo",
        """taskplatform enqueue demo --input '{"task_id": "t1"}' --wait""",
    ):
        out.print(f"  {command}", highlight=False, soft_wrap=True)
    out.print(f"  [dim]data and logs: {folder}[/]", soft_wrap=True)
