"""Room at the gates of concurrency limits and breakers, when nobody has said that there is some."""

from collections.abc import Sequence

from taskplatform.core import registry
from taskplatform.storage import slots
from taskplatform.storage.connection import Session
from taskplatform.storage.gates import Room


def concurrency(connection: Session, gates: Sequence[str]) -> list[Room]:
    """The room at gates of limits that are declared here."""
    declared = _declared()
    limits = {gate: most for gate in gates if (most := declared.get(gate.split(":", 2)[1]))}
    return slots.rooms(connection, limits) if limits else []


def breaker(connection: Session, gates: Sequence[str]) -> list[Room]:
    """The room at gates of breakers, which each say it themselves."""
    return slots.rooms(connection, dict.fromkeys(gates, 0))


def _declared() -> dict[str, int]:
    limits = [one for made in registry.all() for one in made.concurrency]
    limits += [one for made in registry.all() for step in made.steps for one in step.concurrency]
    return {one.name: one.limit for one in limits if one.name is not None}
