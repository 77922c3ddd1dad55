"""The root command: global options, and the commands, each loaded when it is called."""

import logging
import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import rich_click as click

from taskplatform.core.names import near

# Name, module and summary: the summary is here too, so that --help need not load them all.
COMMANDS = {
    "dev": ("dev", "Start everything in one terminal; Ctrl-C stops all."),
    "demo": ("demo", "The main job, a failure, a killed worker and a scrape, before your eyes."),
    "enqueue": ("enqueue", "Ask for a run of a pipeline."),
    "runs": ("runs", "List, show, watch, retry, replay and cancel runs."),
    "why": ("why", "Say in words why a run is where it is, and when it goes on."),
    "events": ("events", "Send events to the runs that wait for them."),
    "pipelines": ("pipelines", "What pipelines there are, and what they would do with open runs."),
    "verify": ("verify", "Try a pipeline under faults: is a step safe to be executed twice?"),
    "queues": ("queues", "What is ready on which queue; pause and resume one."),
    "owners": ("owners", "Pause and resume what runs for an owner."),
    "keys": ("keys", "Pause and resume single keys of a pipeline."),
    "throttles": ("throttles", "Rate limits: what is used, what waits; set and reset them."),
    "concurrency": (
        "concurrency",
        "Concurrency limits: how much of them is taken, and changes.",
    ),
    "breakers": (
        "breakers",
        "Breakers of APIs outside: their state, opened and closed by hand.",
    ),
    "fairness": ("fairness", "Who shares the queues, with what weight, and what they have used."),
    "workers": ("workers", "Which workers are alive, and what they serve."),
    "db": ("db", "Bring the database to the newest schema."),
    "doctor": ("doctor", "Check the installation and say what to do."),
    "health": ("health", "Tell what is down or suspicious now; answers within five seconds."),
    "config": ("config", "Show the settings in force and where each comes from."),
}


class LazyGroup(click.RichGroup):
    """A group whose commands are modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In order of a newcomer's need."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """A command's name and summary; `resolve_command` loads the command itself."""
        if cmd_name not in COMMANDS:
            return None
        return click.RichCommand(name=cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Load the command that is called."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command '{args[0]}'{near(args[0], COMMANDS)}")
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            command = load(name)
        return name, command, rest


def load(name: str) -> click.Command:
    """The command of that name."""
    module = COMMANDS[name][0]
    command: click.Command = getattr(import_module(f"taskplatform.cli.{module}"), module)
    return command


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"taskplatform {version('taskplatform')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 the run failed or the request was refused, 2 usage, 3 not found, "
    "69 database or broker unavailable, 124 the wait timed out, 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.option("-v", "--verbose", count=True, help="Say more on stderr; -vv shows tracebacks too.")
@click.option("--database-url", metavar="URL", help="PostgreSQL, instead of the setting.")
@click.option("--broker-url", metavar="URL", help="Redis, instead of the setting.")
@click.option("--pipelines", metavar="MODULES", help="Modules to import, instead of the setting.")
@click.option("--home", metavar="FOLDER", help="Folder of the embedded servers.")
@click.pass_context
def root(ctx: click.RichContext, /, verbose: int, **flags: str | None) -> None:
    """Durable steps, replay and searchable history for Celery, Redis and Postgres.

    \b
    taskplatform dev --demo
    taskplatform enqueue demo --input '{"task_id": "t1"}' --wait
    taskplatform runs list --status failed --since 24h
    taskplatform runs retry ID

    With no URL configured, real PostgreSQL and Valkey servers are started in .taskplatform/.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    # In the environment they reach the worker of `dev`, too.
    for name, value in given.items():
        os.environ[f"TASKPLATFORM_{name.upper()}"] = value
    ctx.obj = {"verbose": verbose, "flags": frozenset(given)}
    _log_to_stderr(verbose)


def _log_to_stderr(verbose: int) -> None:
    levels = {0: logging.WARNING, 1: logging.INFO}
    logging.basicConfig(
        level=levels.get(verbose, logging.DEBUG),
        stream=sys.stderr,
        format="%(levelname)s %(name)s: %(message)s" if verbose else "%(levelname)s: %(message)s",
    )
    if not verbose:
        # What it has to say about a lost server is said by the error.
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


def state(ctx: click.Context) -> dict[str, Any]:
    """What the root was told: `verbose`, a number, and `flags`, the settings given as options."""
    found: dict[str, Any] = ctx.find_root().obj or {"verbose": 0, "flags": frozenset()}
    return found
