"""C5: the command line's front: help, exit codes, one line for what was to be expected."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from inspect import cleandoc

import pytest
import rich_click as click

from taskplatform.cli.root import COMMANDS, load
from tests.command_line import COMMAND, CommandLine, on

NOWHERE = "postgresql://nobody:secret@127.0.0.1:1/nothing"


def test_help_costs_little_more_than_the_library_that_draws_it() -> None:
    def seconds(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    library = (sys.executable, "-c", "import rich_click, rich.console, rich.table")
    ratios = (seconds(*COMMAND, "--help") / seconds(*library) for _ in range(7))
    assert min(ratios) < 2.5


def test_help_loads_nothing_heavy() -> None:
    heavy = "('psycopg', 'celery', 'pydantic', 'sqlalchemy', 'alembic', 'redis')"
    code = f"import sys, taskplatform.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_in_the_overview_is_that_of_the_command(name: str) -> None:
    assert (load(name).help or "").splitlines()[0] == COMMANDS[name][1]


def _commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = load(name)
        yield name, command
        if isinstance(command, click.Group):
            for below, sub in command.commands.items():
                yield f"{name} {below}", sub


@pytest.mark.parametrize(("path", "command"), list(_commands()))
def test_help_leads_with_examples(path: str, command: click.Command) -> None:
    paragraphs = cleandoc(command.help or "").split("\n\n")
    assert paragraphs[1].startswith("\b\n")
    # Perhaps in a pipe: psql "$(taskplatform config show ...)".
    assert f"taskplatform {path}" in paragraphs[1]


def test_the_version() -> None:
    assert CommandLine()("--version").out.startswith("taskplatform 0.")


def test_a_mistyped_command_is_a_usage_error_that_names_the_near_one() -> None:
    CommandLine()("rnus").failed(2, "rnus", "did you mean 'runs'")


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "list", "--limit", "0"),
        ("runs", "show"),
        ("enqueue",),
        ("enqueue", "demo", "--delay", "soon"),
        ("enqueue", "demo", "--timeout", "1"),
        ("enqueue", "demo", "--delay", "1m", "--at", "2030-01-01T00:00:00Z"),
    ],
)
def test_wrong_use_is_exit_2_in_one_line(arguments: tuple[str, ...]) -> None:
    CommandLine()(*arguments).failed(2, "--help")


def test_an_unknown_setting_is_exit_2_and_names_the_near_one() -> None:
    result = CommandLine({"databse_url": NOWHERE})("runs", "list")
    result.failed(2, "TASKPLATFORM_DATABSE_URL", "TASKPLATFORM_DATABASE_URL")


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "list"),
        ("runs", "show", "01a20188-c593-775e-b5d9-cedfaeb1b1bd"),
        ("workers", "list"),
        ("enqueue", "demo", "--input", '{"task_id": "t"}'),
        ("db", "check"),
        ("db", "upgrade"),
    ],
)
def test_a_database_that_is_away_is_exit_69(arguments: tuple[str, ...]) -> None:
    result = on(NOWHERE, "redis://127.0.0.1:1/0")(*arguments)
    result.failed(69, "database")
    assert "secret" not in result.err


def test_a_database_without_tables_is_exit_69_and_says_what_to_do(
    empty_database_url: str, broker_url: str
) -> None:
    result = on(empty_database_url, broker_url)("runs", "list")
    result.failed(69, "taskplatform db upgrade")


def test_pipelines_that_cannot_be_imported_are_exit_2(database_url: str, broker_url: str) -> None:
    cli = on(database_url, broker_url, pipelines="no_such_module")
    cli("pipelines", "list").failed(2, "no_such_module")
