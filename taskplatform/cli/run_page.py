"""A run as a page: where it stands and why, its steps, its error, what to do next."""

from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import indent

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from taskplatform.cli import words
from taskplatform.cli.output import encode
from taskplatform.client.view import AttemptView, RunView, StepView

_LONGEST_VALUE = 2000


def page(view: RunView) -> Group:
    """All that is known of a run, for a person."""
    parts: list[RenderableType] = [heading(view), Text(), steps(view)]
    parts += [Text(), *_error(view)] if _last_failure(view) else []
    parts += [Text(), _values(view)]
    parts += [Text(), Text("next", style="bold"), *_hints(view)]
    return Group(*parts)


class Growing:
    """The page of a run; times of what still executes grow with every refresh."""

    def __init__(self, view: RunView) -> None:
        self._view = view

    def __rich__(self) -> RenderableType:
        return Group(heading(self._view), Text(), steps(self._view))


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


def steps(view: RunView) -> Table:
    """The steps in order: status, attempts, time of the last attempt, worker."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    made.add_column("", width=3)
    for name in ("step", "status"):
        made.add_column(name)
    for name in ("attempts", "took"):
        made.add_column(name, justify="right")
    made.add_column("worker", overflow="fold", style="dim")
    for step in view.steps:
        colour = words.colour(step.status)
        last = step.attempts[-1] if step.attempts else None
        made.add_row(
            Text(f"  {words.mark(step.status)}", style=colour),
            step.name,
            Text(step.status, style=colour),
            str(len(step.attempts)) if step.attempts else "",
            words.took(last.started_at, last.finished_at) if last else "",
            (last.worker or "") if last else "",
        )
    return made


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


def _until(view: RunView) -> str:
    if view.due_at is None:
        return ""
    return f", until {words.moment(view.due_at)} ({words.from_now(view.due_at)})"


def _last_failure(view: RunView) -> tuple[StepView, AttemptView] | None:
    """The newest attempt with an error, of a run that has not got over it."""
    if view.status == "succeeded":
        return None
    failed = [
        (step, attempt)
        for step in view.steps
        if step.status not in ("succeeded", "reused")
        for attempt in step.attempts
        if attempt.error is not None
    ]
    never = datetime.min.replace(tzinfo=UTC)
    return max(failed, key=lambda pair: pair[1].finished_at or never, default=None)


def _error(view: RunView) -> Iterator[RenderableType]:
    found = _last_failure(view)
    if found is None:
        return
    step, attempt = found
    error = view.error or attempt.error
    assert error is not None
    yield Text.assemble(
        (f"{error.type}: {error.message}", "bold red"),
    )
    where = f"in step {step.name}, attempt {attempt.number} ({attempt.outcome})"
    when = f", {words.moment(attempt.finished_at)}" if attempt.finished_at else ""
    yield Text(f"  {where}{when}", style="dim")
    shown = (attempt.error.traceback if attempt.error else None) or error.traceback
    if shown:
        yield Text(indent(shown.rstrip(), "  "))


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


def _hints(view: RunView) -> Iterator[Text]:
    commands = list(_commands(view))
    widest = max(len(command) for command, _ in commands)
    for command, meaning in commands:
        yield Text.assemble(f"  taskplatform {command.ljust(widest)}", (f"  {meaning}", "dim"))


def _commands(view: RunView) -> Iterator[tuple[str, str]]:
    opened = next((one for one in view.steps if one.status not in ("succeeded", "reused")), None)
    step = opened.name if opened else ""
    match view.status:
        case "failed":
            yield f"runs retry {view.id}", f"go on from {step or 'the failed step'}, same run"
        case "waiting" if view.reason in ("retry", "parked"):
            yield f"runs retry {view.id}", f"try {step or 'it'} again now"
    if view.status in ("failed", "succeeded", "cancelled"):
        yield f"runs replay {view.id}", "a new run with the same input"
        done = [one.name for one in view.steps if one.status in ("succeeded", "reused")]
        if done and (later := step or done[-1]) != view.steps[0].name:
            yield f"runs replay {view.id} --from {later}", "a new run that reuses what is before"
    else:
        yield f"runs watch {view.id}", "follow it to its end"
        yield f"runs cancel {view.id}", "end it for good"
