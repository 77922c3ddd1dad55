"""A run as a page: where it stands and why, its steps, its error, what to do next."""

from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import indent

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from taskplatform.cli import words
from taskplatform.cli.output import encode
from taskplatform.cli.run_hints import hints
from taskplatform.cli.run_log import log_lines
from taskplatform.cli.step_table import step_table
from taskplatform.cli.wait_lines import wait_lines
from taskplatform.client.view import AttemptView, ErrorView, RunView

_LONGEST_VALUE = 2000
_MOST_CHILDREN = 20


def page(view: RunView) -> Group:
    """All that is known of a run, for a person."""
    parts: list[RenderableType] = [heading(view), Text(), step_table(view.steps)]
    sections = (
        _waits(view),
        _children(view),
        _error(view),
        log_lines(view.steps, view.id),
        [_values(view)],
    )
    for section in sections:
        lines = list(section)
        parts += [Text(), *lines] if lines else []
    parts += [Text(), Text("next", style="bold"), *hints(view)]
    return Group(*parts)


class Growing:
    """The page of a run; times of what still executes grow with every refresh."""

    def __init__(self, view: RunView) -> None:
        self._view = view

    def __rich__(self) -> RenderableType:
        return Group(heading(self._view), Text(), step_table(self._view.steps))


def heading(view: RunView) -> Group:
    """The status, what it waits for, and the facts of a run."""
    colour = words.colour(view.status)
    first = Text.assemble(
        (f"{words.mark(view.status)} {view.status}", f"bold {colour}"),
        f"  {view.pipeline}  ",
        (str(view.id), "bold"),
    )
    lines = [first]
    if view.status == "waiting":
        lines.append(Text(f"  waits {words.why(view.reason, view.waiting_for)}{_until(view)}"))
    elif view.status == "scheduled":
        lines.append(Text(f"  starts{_until(view)}"))
    lines.append(Text("  " + " · ".join(_facts(view)), style="dim"))
    return Group(*lines)


def _facts(view: RunView) -> Iterator[str]:
    if view.key is not None:
        yield f"key {view.key}"
    if view.owner is not None:
        yield f"owner {view.owner}"
    if view.priority:
        yield f"priority {view.priority}"
    yield f"created {words.moment(view.created_at)}"
    if view.started_at is not None:
        yield f"started {words.moment(view.started_at)}"
        yield f"took {words.took(view.started_at, view.finished_at)}"
    if view.replay_of is not None:
        yield f"replay of {view.replay_of}"
    if view.parent_run is not None:
        yield f"child of {view.parent_run}"


def _until(view: RunView) -> str:
    if view.due_at is None:
        return ""
    return f", until {words.moment(view.due_at)} ({words.from_now(view.due_at)})"


def _waits(view: RunView) -> Iterator[RenderableType]:
    if view.waits:
        yield Text("why", style="bold")
        yield from wait_lines(view.waits)


def _children(view: RunView) -> Iterator[RenderableType]:
    if not view.children:
        return
    steps = {step.child_run: step.name for step in view.steps if step.child_run is not None}
    yield Text("children", style="bold")
    for child in view.children[:_MOST_CHILDREN]:
        yield Text(f"  {child}  {steps.get(child, '')}")
    if len(view.children) > _MOST_CHILDREN:
        yield Text(f"  … {len(view.children) - _MOST_CHILDREN} more", style="dim")


def _error(view: RunView) -> Iterator[RenderableType]:
    found = _failure(view)
    if found is None:
        return
    error, name, attempt = found
    yield Text(f"{error.type}: {error.message}", style="bold red")
    where = [f"in step {name}"] if name else []
    if attempt is not None:
        where.append(f"attempt {attempt.number} ({attempt.outcome})")
        where += [words.moment(attempt.finished_at)] if attempt.finished_at else []
    if where:
        yield Text("  " + ", ".join(where), style="dim")
    shown = (attempt.error.traceback if attempt and attempt.error else None) or error.traceback
    if shown:
        yield Text(indent(shown.rstrip(), "  "))


def _failure(view: RunView) -> tuple[ErrorView, str | None, AttemptView | None] | None:
    """What ended the run, or the newest error that it has not got over."""
    if view.status == "succeeded":
        return None
    if view.error is not None:
        attempts = next((one.attempts for one in view.steps if one.name == view.error.step), [])
        failed = [attempt for attempt in attempts if attempt.error is not None]
        return view.error, view.error.step, failed[-1] if failed else None
    opened = [
        (step.name, attempt)
        for step in view.steps
        # An item that failed and has an output was collected.
        if step.status not in ("succeeded", "reused") and step.output is None
        for attempt in step.attempts
        if attempt.error is not None
    ]
    never = datetime.min.replace(tzinfo=UTC)
    name, last = max(opened, key=lambda pair: pair[1].finished_at or never, default=("", None))
    return None if last is None or last.error is None else (last.error, name, last)


def _values(view: RunView) -> Table:
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    made.add_row("input", _value(view, view.input, "input"))
    if view.status == "succeeded":
        made.add_row("output", _value(view, view.output, "output"))
    return made


def _value(view: RunView, value: object, name: str) -> Text:
    text = encode(value)
    if len(text) > _LONGEST_VALUE:
        more = f"… ({len(text)} characters; `taskplatform runs show {view.id} -o json` has {name})"
        text = text[:_LONGEST_VALUE] + more
    return Text(text)
