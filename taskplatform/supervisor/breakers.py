"""The lines of breakers: ready work of steps whose API fails is set aside, then let go."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic

from taskplatform.core import registry
from taskplatform.storage import breaker_lines, breakers, gates, slots
from taskplatform.storage.connection import Session
from taskplatform.storage.gates import gate_of
from taskplatform.supervisor.session import Database
from taskplatform.supervisor.set_aside import MOST, by_batches

EVERY = 0.5
# However much is ready, looking through it may take so much of the time.
_SHARE = 0.05
# One that will let somebody through in a moment sets nothing aside.
_SOON = 0.5


class BreakerLines:
    """The lines of the breakers of one worker's pipelines."""

    def __init__(
        self, database: Database, queues: Sequence[str], make_ready: Callable[[], None]
    ) -> None:
        """`make_ready` makes ready what was let go."""
        self._database = database
        self._queues = queues
        self._make_ready = make_ready

    def tick(self) -> float:
        """Look at the breakers; return in how many seconds to look again."""
        users = _users()
        if not users:
            return EVERY
        none: dict[str, breakers.State] = {}
        states = self._database.ask(breakers.not_closed, none)
        began = monotonic()
        for name, steps in users.items():
            state = states.get(name)
            if state is None:
                self._let_go(name)
            elif state.state == "open" and (state.seconds is None or state.seconds > _SOON):
                self._set_aside(name, steps)
        return max(EVERY, (monotonic() - began) / _SHARE)

    def _set_aside(self, name: str, steps: Sequence[str]) -> None:
        ask = partial(
            breaker_lines.set_aside,
            name=name,
            why=f"breaker {name}: open",
            steps=steps,
            queues=self._queues,
        )
        by_batches(self._database, ask)

    def _let_go(self, name: str) -> None:
        for _ in range(MOST):
            if not self._database.ask(partial(_moved_on, gate_of("breaker", name)), False):
                break
            self._make_ready()


def _moved_on(gate: str, connection: Session) -> bool:
    with connection.transaction():
        rooms = slots.rooms(connection, {gate: 0})
        return bool(rooms and gates.release(connection, rooms))


def _users() -> Mapping[str, list[str]]:
    """The steps that use each breaker, as `pipeline.step`."""
    found: dict[str, list[str]] = {}
    for declaration in registry.all():
        for step in declaration.steps:
            for one in step.breakers:
                found.setdefault(one.name, []).append(step.task_name)
    return found
