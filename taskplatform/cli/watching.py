"""Following runs: a live display in a terminal, a line for each change elsewhere."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from taskplatform.cli import words
from taskplatform.cli.failures import Exit
from taskplatform.cli.run_page import Growing
from taskplatform.cli.step_table import MOST_ITEMS, item_counts, told
from taskplatform.client.reading import get_run, list_runs
from taskplatform.client.run import Run
from taskplatform.client.view import AttemptView, RunSummary, RunView
from taskplatform.core.run import FINAL
from taskplatform.errors import Unavailable, WaitTimeout

_PAUSE = 0.1
# A run with thousands of items takes a while to read; so much longer it is left alone.
_REST = 3.0
_LIST_PAUSE = 0.5
_OUTAGE = 30.0
# The narrowest terminal that has room for more than id and status.
_WIDE = 75


def follow(run: Run, timeout: float | None, changed: Callable[[RunView], None]) -> RunView:
    """Call `changed` with every new state of a run until its end; `timeout` in seconds.

    Raises WaitTimeout; the run goes on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    last: RunView | None = None
    began = time.monotonic()
    for view in _views(run):
        if view != last:
            changed(view)
            last = view
        if view.status in FINAL:
            return view
        pause = max(_PAUSE, _REST * (time.monotonic() - began))
        left = pause if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(
                f"run {run.id} did not end within {timeout:g} s and goes on, it is {view.status}; "
                f"follow it with `taskplatform runs watch {run.id}`"
            )
        time.sleep(min(pause, left))
        began = time.monotonic()
    raise AssertionError


def show_until_end(run: Run, timeout: float | None, out: Console) -> RunView:
    """Follow a run on a console: live in a terminal, in lines otherwise."""
    if not out.is_terminal:
        return follow(run, timeout, _Lines(out))
    live = Live(console=out, refresh_per_second=8, transient=True, vertical_overflow="visible")
    with live:
        return follow(run, timeout, lambda view: live.update(Growing(view)))


def watch_newest(limit: int, out: Console) -> None:
    """Show the newest runs until interrupted."""
    if out.is_terminal:
        with Live(console=out, auto_refresh=False, screen=False) as live:
            while True:
                live.update(_newest(list_runs(limit=limit), out.width), refresh=True)
                time.sleep(_LIST_PAUSE)
    seen: dict[UUID, str] = {}
    while True:
        for run in reversed(list_runs(limit=limit)):
            state = run.status if run.reason is None else f"{run.status} ({run.reason})"
            if seen.get(run.id) != state:
                seen[run.id] = state
                out.print(f"{_clock()} {run.id} {run.pipeline} {state}", soft_wrap=True)
        time.sleep(_LIST_PAUSE)


def exit_code(status: str) -> Exit:
    """What a command says that waited for a run's end."""
    return Exit.OK if status == "succeeded" else Exit.FAILED


def _views(run: Run) -> Iterator[RunView]:
    answered = read = time.monotonic()
    seen: tuple[object, ...] | None = None
    view: RunView | None = None
    while True:
        try:
            # The look is a primary key's; the whole is read when it may have changed.
            now = get_run(run.id)
            look = (now.status, now.reason, now.due_at)
            answered = time.monotonic()
            # Branches of a waiting run may move while the run itself stands as it did.
            old = answered > read + _LIST_PAUSE
            if view is None or look != seen or old or now.status in ("running", "queued"):
                view, seen, read = run.view(), look, answered
        except Unavailable:
            if view is None or time.monotonic() > answered + _OUTAGE:
                raise
        yield view


class _Lines:
    """Prints what changed between two states of a run."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._run = ""
        self._steps: dict[tuple[str, int], str] = {}

    def __call__(self, view: RunView) -> None:
        counts = item_counts(view.steps)
        for step in view.steps:
            many = step.item_of is not None and counts[step.item_of].total() > MOST_ITEMS
            for attempt in () if many else step.attempts:
                self._change((step.name, attempt.number), attempt.outcome, _told(attempt))
            if step.name in counts:
                told_now = told(counts[step.name])
                self._change((step.name, -1), told_now, f"items: {told_now}")
            elif step.progress is not None:
                said = words.progress(step.progress.done, step.progress.total)
                self._change((step.name, -1), said, f"progress: {said}")
        state = view.status
        if view.status == "waiting":
            state += f" {words.why(view.reason, view.waiting_for)}"
        if view.due_at is not None:
            state += f" until {words.moment(view.due_at)}"
        if state != self._run:
            self._run = state
            self._say(f"run {view.id} of {view.pipeline}: {state}")

    def _change(self, place: tuple[str, int], state: str, line: str) -> None:
        if self._steps.get(place) != state:
            self._steps[place] = state
            self._say(f"  {place[0]} {line}")

    def _say(self, line: str) -> None:
        self._out.print(f"{_clock()} {line}", markup=False, soft_wrap=True)


def _told(attempt: AttemptView) -> str:
    took = words.took(attempt.started_at, attempt.finished_at)
    after = f" after {took}" if attempt.finished_at and took else ""
    error = attempt.error
    why = "" if error is None else f": {error.type}: {error.message}"
    return f"{attempt.outcome}, attempt {attempt.number}{after}{why}"


def _newest(runs: list[RunSummary], width: int) -> RenderableType:
    if not runs:
        return Text("no runs yet: taskplatform enqueue PIPELINE --input '{...}'", style="dim")
    lines = []
    for run in runs:
        state = run.status if run.reason is None else f"{run.status} ({run.reason})"
        line = Text.assemble(
            (f"{words.mark(run.status)} ", words.colour(run.status)),
            f"{run.id} ",
            (state.ljust(19), words.colour(run.status)),
            no_wrap=True,
            overflow="ignore" if width < _WIDE else "ellipsis",
        )
        if width >= _WIDE:
            took = words.took(run.started_at, run.finished_at or None) if run.started_at else ""
            line.append(f" {took.rjust(9)}  {run.pipeline} {run.key or ''}")
        lines.append(line)
    return Group(*lines)


def _clock() -> str:
    return f"{datetime.now(UTC):%H:%M:%S}Z"
