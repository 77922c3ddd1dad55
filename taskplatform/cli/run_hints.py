"""What can be done with a run as it stands, as commands."""

from collections.abc import Iterator

from rich.text import Text

from taskplatform.client.view import RunView
from taskplatform.core.names import COMPENSATION

_DONE = ("succeeded", "reused")


def hints(view: RunView) -> Iterator[Text]:
    """A line for each command that makes sense now."""
    commands = list(_commands(view))
    widest = max(len(command) for command, _ in commands)
    for command, meaning in commands:
        yield Text.assemble(f"  taskplatform {command.ljust(widest)}", (f"  {meaning}", "dim"))


def _commands(view: RunView) -> Iterator[tuple[str, str]]:
    steps = [one for one in view.steps if one.item_of is None and COMPENSATION not in one.name]
    compensated = any(COMPENSATION in one.name and one.status == "succeeded" for one in view.steps)
    opened = next((one for one in steps if one.status not in _DONE), None)
    step = opened.name if opened else ""
    waiting = {one.reason: one for one in view.steps if one.status == "waiting"}
    if view.status == "failed" and not compensated:
        yield f"runs retry {view.id}", f"go on from {step or 'the failed step'}, same run"
    for reason in ("retry", "parked"):
        if reason in waiting:
            yield f"runs retry {view.id}", f"try {waiting[reason].name} again now"
            break
    if (rest := waiting.get("event")) is not None and rest.waiting_for:
        event = rest.waiting_for.removeprefix("event ").split()[0]
        yield f"events send {event} --data '{{...}}'", f"what {rest.name} waits for"
    if view.status in ("failed", "succeeded", "cancelled"):
        yield f"runs replay {view.id}", "a new run with the same input"
        done = [one.name for one in steps if one.status in _DONE]
        later = step or (done[-1] if done else "")
        if done and not compensated and later != steps[0].name:
            yield f"runs replay {view.id} --from {later}", "a new run that reuses what is before"
    else:
        yield f"runs watch {view.id}", "follow it to its end"
        yield f"runs cancel {view.id}", "end it for good"
