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
    match view.status:
        case "failed" if not compensated:
            yield f"runs retry {view.id}", f"go on from {step or 'the failed step'}, same run"
        case "waiting" if view.reason in ("retry", "parked"):
            yield f"runs retry {view.id}", f"try {step or 'it'} again now"
        case "waiting" if view.reason == "event" and view.waiting_for:
            event = view.waiting_for.removeprefix("event ").split()[0]
            yield f"events send {event} --data '{{...}}'", "what it waits for"
    if view.status in ("failed", "succeeded", "cancelled"):
        yield f"runs replay {view.id}", "a new run with the same input"
        done = [one.name for one in steps if one.status in _DONE]
        later = step or (done[-1] if done else "")
        if done and not compensated and later != steps[0].name:
            yield f"runs replay {view.id} --from {later}", "a new run that reuses what is before"
    else:
        yield f"runs watch {view.id}", "follow it to its end"
        yield f"runs cancel {view.id}", "end it for good"
