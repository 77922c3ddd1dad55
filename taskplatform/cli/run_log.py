"""What the steps of a run logged, the newest lines of it."""

from collections.abc import Iterator, Sequence
from textwrap import indent

from rich.text import Text

from taskplatform.client.view import StepView

_STEPS = 5
_LINES = 10


def log_lines(steps: Sequence[StepView], run: object) -> Iterator[Text]:
    """The last lines of the last steps that logged something, failed ones before others."""
    logged = [step for step in steps if step.log]
    if not logged:
        return
    by_place = {step.name: place for place, step in enumerate(logged)}
    kept = sorted(logged, key=lambda one: (one.status == "failed", by_place[one.name]))[-_STEPS:]
    yield Text("log", style="bold")
    left_out = len(logged) > len(kept)
    for step in sorted(kept, key=lambda one: by_place[one.name]):
        lines = (step.log or "").rstrip().splitlines()
        left_out |= len(lines) > _LINES
        yield Text(f"  {step.name}, attempt {_attempt(step)}", style="dim")
        yield Text(indent("\n".join(lines[-_LINES:]), "    "))
    if left_out:
        yield Text(f"  … `taskplatform runs show {run} -o json` has all of it", style="dim")


def _attempt(step: StepView) -> int:
    return next((one.number for one in reversed(step.attempts) if one.log), 1)
