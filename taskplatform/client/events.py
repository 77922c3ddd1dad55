"""Send an event: to the runs that wait for it, and to the handlers that listen to it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel
from pydantic_core import from_json

from taskplatform.client import ringer
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.core.json import Codec, InvalidJson
from taskplatform.core.names import is_event_name
from taskplatform.core.step import InvalidOutput, Step
from taskplatform.errors import InvalidInput
from taskplatform.executor.arrival import event_text
from taskplatform.settings import get_settings
from taskplatform.storage import events
from taskplatform.storage.new_run import NewRun

_MOST_FIELDS = 200


def send_event(
    name: str,
    data: BaseModel | Mapping[str, Any] | str | bytes | None = None,
    *,
    id: UUID | str | None = None,
) -> UUID:
    """Send an event; when this returns, it is stored, and who waits for it is being rung.

    It also counts for runs that exist and have not reached their wait. An `id` that was sent
    before changes nothing, so a call may be repeated. Returns the event's id.

    Raises InvalidInput (also when no wait declared here could read the data) and Unavailable.
    """
    if not is_event_name(name):
        raise InvalidInput(f"event {name!r}: a name has no spaces and at most 150 characters")
    event_id = _id(id)
    waits = _waits(name)
    encoded = _encode(name, data, waits)
    _check_waits(name, encoded, waits)
    fields = from_json(encoded)
    values = [event_text(value) for value in fields.values() if _matches(value)]
    if len(values) > _MOST_FIELDS:
        raise InvalidInput(f"event '{name}': more than {_MOST_FIELDS} fields of plain values")
    rows = _handlers(name, event_id, encoded)
    woken = call(
        lambda connection, _: events.send(
            connection, id=event_id, name=name, data=encoded, values=values, handlers=rows
        )
    )
    for queue, count in woken.items():
        ringer.RINGER.ring(queue, count)
    return event_id


def _id(id: UUID | str | None) -> UUID:
    if id is None:
        return uuid7()
    try:
        return id if isinstance(id, UUID) else UUID(id)
    except ValueError:
        raise InvalidInput(f"event id {id!r}: give a UUID") from None


def _encode(
    name: str,
    data: BaseModel | Mapping[str, Any] | str | bytes | None,
    waits: Sequence[Step],
) -> bytes:
    # What is a secret to one that waits must not be stored for the others either.
    secret = {field for step in waits for field in step.bound.output.declared.secret}
    try:
        if isinstance(data, str | bytes):
            content = from_json(data)
        elif isinstance(data, BaseModel):
            return Codec(type(data), secret=secret).encode(data)
        else:
            content = dict(data or {})
        return Codec(dict[str, Any], secret=secret).encode(content)
    except (ValueError, InvalidJson) as error:
        raise InvalidInput(f"the data of event '{name}' are invalid: {error}") from None


def _matches(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _waits(name: str) -> list[Step]:
    return [
        step
        for declaration in registry.all()
        for step in declaration.steps
        if step.wait is not None and step.wait.event == name
    ]


def _check_waits(name: str, data: bytes, waits: Sequence[Step]) -> None:
    wrong = []
    for step in waits:
        try:
            step.encode(data)
        except InvalidOutput as error:
            wrong.append(f"step '{step.task_name}', which waits for it: {error}")
    # What fits one pipeline may be nothing for another, which passes it over.
    if waits and len(wrong) == len(waits):
        raise InvalidInput(f"event '{name}' does not fit {'; nor '.join(wrong)}")


def _handlers(name: str, id: UUID, data: bytes) -> list[NewRun]:
    event = {
        "id": str(id),
        "name": name,
        "run_id": None,
        "pipeline": None,
        "at": datetime.now(UTC).isoformat(),
        "data": orjson.Fragment(data),
    }
    return [
        NewRun(
            id=uuid7(),
            pipeline=one.name,
            first_step=one.steps[0].name,
            queue=one.steps[0].queue or get_settings().queue,
            input=orjson.dumps(event),
            run_timeout=one.run_timeout,
            ageing=get_settings().priority_ageing,
        )
        for one in registry.handlers(name)
    ]
