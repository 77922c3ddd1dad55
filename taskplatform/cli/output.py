"""Data on stdout: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import rich_click as click
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Function = TypeVar("Function", bound=Callable[..., Any])

_UNBOUNDED = 100_000
_LEAST_COLUMN = 6

output_option: Callable[[Function], Function] = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "jsonl"]),
    default="table",
    show_default=True,
    help="How to print data.",
)


def encode(value: Any, *, indent: int | None = None) -> str:
    """JSON with moments in UTC."""
    return json.dumps(value, default=_encode_other, ensure_ascii=_is_narrow(), indent=indent)


def write_json(value: Any, form: str) -> None:
    """One object: indented, or on a line of its own."""
    print(encode(value, indent=2 if form == "json" else None), flush=True)


def write_rows(rows: Iterable[Any], form: str) -> None:
    """Several objects: an array, or a line each."""
    if form == "json":
        write_json(list(rows), form)
        return
    for row in rows:
        write_json(row, form)


def console(*, stderr: bool = False) -> Console:
    """A console that wraps and cuts nothing when a program reads it."""
    found = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not found.is_terminal:
        found.width = _UNBOUNDED
    return found


def table(*columns: str, whole: Sequence[str] = (), right: Sequence[str] = ()) -> Table:
    """A table; columns in `whole` are never cut, whatever the width of the terminal."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        made.add_column(
            name,
            no_wrap=name in whole,
            overflow="fold",
            justify="right" if name in right else "left",
        )
    return made


def write_table(rows: Table, to: Console | None = None) -> None:
    """Print a table as wide as its uncuttable columns need."""
    target = to or console()
    target.width = max(target.width, _least_width(target, rows))
    if not target.is_terminal:
        target.width = Measurement.get(target, target.options, rows).maximum
    target.print(rows, crop=False, soft_wrap=False)


def write(what: RenderableType) -> None:
    """Print something else on stdout."""
    console().print(what)


def note(message: str | Text) -> None:
    """Say something beside the data, on stderr."""
    console(stderr=True).print(message, markup=False)


def _least_width(target: Console, rows: Table) -> int:
    wide = target.options.update(max_width=_UNBOUNDED)
    needed = 0
    for column in rows.columns:
        measured = [Measurement.get(target, wide, cell).maximum for cell in _cells(column)]
        natural = max(measured, default=0)
        needed += natural if column.no_wrap else min(natural, _LEAST_COLUMN)
    return needed + 2 * len(rows.columns)


def _cells(column: Any) -> list[RenderableType]:
    return [column.header, *column.cells]


def _encode_other(value: object) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case BaseModel():
            return value.model_dump()
        case _:
            return str(value)


def _is_narrow() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8", "utf8sig")
