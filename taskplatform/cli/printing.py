"""Printing runs, and waiting for their end first."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import rich_click as click

from taskplatform.cli import watching
from taskplatform.cli.failures import Exit
from taskplatform.cli.output import console, note, write, write_json, write_rows
from taskplatform.cli.parsing import Length
from taskplatform.cli.run_page import page
from taskplatform.client.run import Run
from taskplatform.client.view import RunView
from taskplatform.errors import WaitTimeout

Function = TypeVar("Function", bound=Callable[..., Any])


def wait_option_pair(function: Function) -> Function:
    """`--wait` and `--timeout`."""
    with_timeout = click.option(
        "--timeout", type=Length(), metavar="S", help="Wait no longer, as 90 or 2m."
    )(function)
    return click.option("--wait", is_flag=True, help="Wait for the run's end.")(with_timeout)


def write_run(view: RunView, form: str) -> None:
    """Print one run."""
    if form == "table":
        write(page(view))
    else:
        write_json(view, form)


def write_runs(views: Sequence[RunView], form: str) -> None:
    """Print one run as itself, several as a list."""
    if form == "table":
        for view in views:
            write(page(view))
    elif len(views) == 1:
        write_json(views[0], form)
    else:
        write_rows(views, form)


def wait_and_print(run: Run, timeout: float | None, form: str) -> Exit:
    """Show the run's progress on stderr, then print how it ended.

    Raises WaitTimeout, after printing how it stands.
    """
    progress = console(stderr=True)
    try:
        if progress.is_terminal:
            view = watching.show_until_end(run, timeout, progress)
        else:
            view = watching.follow(run, timeout, lambda _: None)
    except KeyboardInterrupt:
        note(f"the run goes on; follow it with `taskplatform runs watch {run.id}`")
        raise
    except WaitTimeout:
        write_run(run.view(), form)
        raise
    write_run(view, form)
    return watching.exit_code(view.status)
