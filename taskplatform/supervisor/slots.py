"""Room at the gates of concurrency limits and breakers, when nobody has said that there is some."""

from collections.abc import Sequence

from taskplatform.core import registry
from taskplatform.core.concurrency import declared
from taskplatform.storage import slots
from taskplatform.storage.connection import Session
from taskplatform.storage.gates import Room


def concurrency(connection: Session, gates: Sequence[str]) -> list[Room]:
    """The room at gates of limits that are declared here."""
    known = declared(registry.all())
    limits = {gate: most for gate in gates if (most := known.get(gate.split(":", 2)[1]))}
    return slots.rooms(connection, limits) if limits else []


def breaker(connection: Session, gates: Sequence[str]) -> list[Room]:
    """The room at gates of breakers, which each say it themselves."""
    return slots.rooms(connection, dict.fromkeys(gates, 0))
