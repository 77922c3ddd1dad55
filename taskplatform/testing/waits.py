"""Which of the events that a test gives is the one that a step waits for."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from taskplatform.core.step import Step
from taskplatform.executor.arrival import event_text
from taskplatform.storage.settlement import NewWait
from taskplatform.testing.given import NotGiven, encoded, named
from taskplatform.testing.markers import TIMEOUT
from taskplatform.testing.simulation import Simulation


def awaited(run: Simulation, step: Step, wanted: NewWait) -> bytes | None:
    """The data of the event; None: the wait times out.

    Raises NotGiven, and ValueError for an event that the wait would not take.
    """
    events = run.world.given.events
    if isinstance(events, Mapping):
        is_given, data = named(events, step.name)
        found = _meant(step, wanted, data) if is_given and data is not TIMEOUT else None
        times_out = data is TIMEOUT
    else:
        found, times_out = _first_match(run, events, wanted), False
    if found is not None:
        return found
    if wanted.timeout is not None:
        return None
    what = f"step '{step.task_name}' waits for event '{wanted.event}'" + _with(wanted)
    if times_out:
        raise ValueError(f"{what} for ever: give it a timeout, or the event instead of TIMEOUT")
    raise NotGiven(
        f"{what}, has no timeout, and there is none: give "
        f"events=[('{wanted.event}', {{...}})] or events={{'{step.name}': {{...}}}}"
    )


def _first_match(run: Simulation, events: Any, wanted: NewWait) -> bytes | None:
    for place, (name, data) in enumerate(events):
        if name == wanted.event and place not in run.used_events:
            found = encoded(data)
            if _fits(wanted, found):
                run.used_events.add(place)
                return found
    return None


def _meant(step: Step, wanted: NewWait, data: object) -> bytes:
    found = encoded(data)
    if not _fits(wanted, found):
        raise ValueError(
            f"events= has data for '{step.name}' that it does not match: it waits for event "
            f"'{wanted.event}'{_with(wanted)}"
        )
    return found


def _fits(wanted: NewWait, data: bytes) -> bool:
    if not wanted.field:
        return True
    content = from_json(data)
    return wanted.field in content and event_text(content[wanted.field]) == wanted.value


def _with(wanted: NewWait) -> str:
    return f" with {wanted.field} {wanted.value}" if wanted.field else ""
