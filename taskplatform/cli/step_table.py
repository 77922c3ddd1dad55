"""The steps of a run as a table; a map of many items is one line, and a line for what is open."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from rich.table import Table
from rich.text import Text

from taskplatform.cli import words
from taskplatform.client.view import StepView

# A map with more items than this is summarised.
MOST_ITEMS = 200
# So many of those that failed or execute are shown all the same.
_SHOWN = 10
_NOTABLE = ("failed", "running")


def step_table(steps: Sequence[StepView]) -> Table:
    """In order: status, what is waited for, attempts, time of the last attempt, worker."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    made.add_column("", width=3)
    for name in ("step", "status"):
        made.add_column(name)
    for name in ("attempts", "took"):
        made.add_column(name, justify="right")
    made.add_column("worker", overflow="fold", style="dim")
    counts = item_counts(steps)
    for step in _shown(steps, counts):
        last = step.attempts[-1] if step.attempts else None
        colour = words.colour(step.status)
        made.add_row(
            Text(f"  {words.mark(step.status)}", style=colour),
            step.name if step.item_of is None else f"  {step.name}",
            Text(_state(step, counts.get(step.name)), style=colour),
            str(len(step.attempts)) if step.attempts else "",
            words.took(last.started_at, last.finished_at) if last else "",
            (last.worker or "") if last else "",
        )
    return made


def item_counts(steps: Iterable[StepView]) -> dict[str, Counter[str]]:
    """How many items of each map are how, in the order in which they are told."""
    found: dict[str, Counter[str]] = {}
    for step in steps:
        if step.item_of is not None:
            found.setdefault(step.item_of, Counter())[step.status] += 1
    return found


def told(counts: Counter[str]) -> str:
    """`9,990 done, 10 failed`."""
    order = ("succeeded", "failed", "running", "waiting", "pending", "cancelled")
    said = {"succeeded": "done"}
    return ", ".join(f"{counts[one]:,} {said.get(one, one)}" for one in order if counts[one])


def _shown(steps: Sequence[StepView], counts: dict[str, Counter[str]]) -> Iterator[StepView]:
    many = {name for name, items in counts.items() if items.total() > MOST_ITEMS}
    for step in steps:
        if step.item_of not in many:
            yield step
        if step.name in many:
            items = [one for one in steps if one.item_of == step.name]
            for status in _NOTABLE:
                yield from islice((one for one in items if one.status == status), _SHOWN)


def _state(step: StepView, items: Counter[str] | None) -> str:
    state: str = step.status
    if step.status == "waiting" and step.reason is not None:
        said = step.waiting_for or ""
        what = said if said.startswith(step.reason) else f"{step.reason}: {said}".removesuffix(": ")
        when = f", {words.from_now(step.due_at)}" if step.due_at is not None else ""
        state += f" ({what}{when})"
    if items is not None:
        return f"{state}: {told(items)}"
    if step.progress is not None and step.status == "running":
        state += f" {words.progress(step.progress.done, step.progress.total)}"
    return state
