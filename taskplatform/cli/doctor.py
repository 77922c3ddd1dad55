"""`taskplatform doctor`."""

import dataclasses
from collections.abc import Iterable

import rich_click as click
from rich.text import Text

from taskplatform.cli.checks import findings
from taskplatform.cli.failures import Exit
from taskplatform.cli.finding import Finding
from taskplatform.cli.output import output_option, write, write_rows

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failure": ("✗", "bold red")}


@click.command()
@output_option
def doctor(form: str) -> Exit:
    """Check the installation and say what to do.

    \b
    taskplatform doctor
    taskplatform doctor -o json

    ✓ is as it should be, ! works but should be looked at, ✗ does not work. Exit 0 if nothing
    failed, else 1.
    """
    return Exit.FAILED if any_failed(findings(), form) else Exit.OK


def any_failed(found: Iterable[Finding], form: str) -> bool:
    """Print findings as they come; whether one of them is a failure."""
    if form == "table":
        all = list(_told(found))
    else:
        all = list(found)
        write_rows([dataclasses.asdict(one) for one in all], form)
    return any(one.result == "failure" for one in all)


def _told(found: Iterable[Finding]) -> Iterable[Finding]:
    for one in found:
        mark, style = _MARKS[one.result]
        write(Text.assemble((mark, style), f" {one.check.ljust(11)} {one.message}"))
        if one.remedy:
            write(Text(f"  {' ' * 11} → {one.remedy}", style="dim"))
        yield one
