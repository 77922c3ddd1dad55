"""Lanes: whose turn it is in a process's claims, and what the lanes have used in it."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import TypeVar

from taskplatform.core import registry
from taskplatform.core.fairness import Turn, turns
from taskplatform.executor.costs import Costs
from taskplatform.storage import lanes
from taskplatform.storage.claim import Claimed
from taskplatform.storage.connection import Session
from taskplatform.storage.taking import Due

T = TypeVar("T")

# Code that declares no fair key may find work of code that does.
_LOOK_EVERY = 2.0


class Lanes:
    """Asked before a claim, told after a body; bodies may end in many threads."""

    def __init__(self, costs: Costs, ageing: float) -> None:
        self._costs = costs
        self._ageing = ageing
        self._dues: deque[Due] = deque()
        self._next: dict[str, str] = {}
        self._in_use = False
        self._look_again = 0.0

    def claim(
        self,
        take: Callable[..., tuple[list[T], bool]],
        connection: Session,
        queues: Sequence[str],
        pipelines: Sequence[str],
        many: int,
    ) -> tuple[list[T], bool]:
        """Claim by `take`, in turn where anything has a lane, else by rank."""
        take = partial(
            take, connection, queues=queues, pipelines=pipelines, costs=self._costs.known
        )
        turns = self._turns(connection, queues, pipelines, many)
        if turns is None:
            return take()
        return take(turns=turns, dues=self._together()) if turns else ([], False)

    def _turns(
        self, connection: Session, queues: Sequence[str], pipelines: Sequence[str], many: int
    ) -> list[Turn] | None:
        declared = registry.any_fair()
        if not (declared or self._in_use or monotonic() >= self._look_again):
            return None
        self._look_again = monotonic() + _LOOK_EVERY
        stretch = {queue: self._next.get(queue, "") for queue in queues}
        found = lanes.look(connection, stretch, pipelines, self._costs.known)
        if not found and any(stretch.values()):
            found = lanes.look(connection, dict.fromkeys(queues, ""), pipelines, self._costs.known)
        self._in_use = any(one.name for one in found)
        if not (declared or self._in_use):
            return None
        self._next = {}
        for queue in queues:
            seen = [one.name for one in found if one.queue == queue]
            if len(seen) == lanes.MOST:
                # The smallest text behind it.
                self._next[queue] = seen[-1] + "\x01"
        return turns(found, many, self._ageing)

    def use(self, claimed: Claimed, seconds: float) -> None:
        """Note what a body has used."""
        if claimed.lane or claimed.charge is not None:
            due = seconds - (claimed.charge or 0.0)
            self._dues.append(Due(claimed.queue, claimed.lane, due))
            claimed.charge = 0.0

    def refund(self, claimed: Iterable[Claimed]) -> None:
        """Note what nothing was executed for."""
        for one in claimed:
            if one.charge:
                self.use(one, 0.0)

    def _together(self) -> list[Due]:
        together: dict[tuple[str, str], float] = {}
        while self._dues:
            queue, lane, seconds = self._dues.popleft()
            together[queue, lane] = together.get((queue, lane), 0.0) + seconds
        return [Due(*lane, seconds) for lane, seconds in together.items()]
