"""The shift of a worker whose pool is threads: one claims for all the seats of its process."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from math import inf

from celery.worker import state

from taskplatform.celery.bell import Bell
from taskplatform.celery.ringer import Ringer
from taskplatform.celery.shift import LOOK, Shift
from taskplatform.errors import Unavailable
from taskplatform.executor.crowd import Crowd
from taskplatform.executor.desk import Desk, Seated
from taskplatform.executor.hands import Hands
from taskplatform.executor.slot import IDLE, SHIFT

logger = logging.getLogger(__name__)

# What a first claim asks for, and the most that one asks for: the first bodies start while the
# rest is still being claimed.
_FIRST, _MOST = 16, 128
_HANDS = Hands("taskplatform-body")


def others_active() -> int:
    """How many of the process's pool threads execute something else than the one that asks."""
    return max(0, len(state.active_requests) - 1)


class CrowdShift(Shift):
    """Claims as seats get free, as long as there are bodies or something comes to be executed."""

    def __init__(
        self,
        desk: Desk,
        queues: Sequence[str],
        bell: Bell,
        linger_seconds: float,
        others: Callable[[], int] = others_active,
    ) -> None:
        """`others` tells how many of the places are taken by what is no step of a shift."""
        super().__init__(desk, queues, bell, linger_seconds)
        self._desk = desk
        self._others = others
        self._more = False

    def work(self, until: float = inf) -> None:
        """Work until no seat is taken and nothing comes.

        That need not end in time: the user's own tasks have threads of their own, and what waits
        for one all the same ends it.
        """
        desk = self._desk
        desk.slot.state = SHIFT
        try:
            with Crowd(desk, self._ring_soon, _HANDS) as crowd:
                self._claim_on(crowd, until)
        except Unavailable as error:
            pause = desk.backoff.next()
            logger.warning("the shift ends, the next one in %.2g s: %s", pause, error)
            self._more = False
            self._rest(pause)
        finally:
            desk.slot.state = IDLE
        if not desk.taken:
            with suppress(Unavailable):
                desk.rest()
        if self._attends_until:
            self._disregard()
        elif self._more and not desk.table.shutting_down:
            self.ring({self._queues[0]: 1})

    def _claim_on(self, crowd: Crowd, until: float) -> None:
        desk, ask = self._desk, _FIRST
        woken = look = True
        while not desk.must_end():
            if desk.table.messages_wait:
                if not desk.taken:
                    return
                self._wait(LOOK / 4)
                continue
            room = self._room() if look else 0
            if look and not room:
                self._wait(LOOK, lambda: bool(self._room()))
                continue
            claimed = self._claim(min(room, ask)) if look else []
            if claimed:
                crowd.seat(claimed)
                # Whoever wakes to more than it can take wakes the next one.
                if self._more and woken and len(claimed) == room:
                    self.ring({self._queues[0]: 1})
                    woken = False
                ask = min(2 * ask, _MOST)
                look = self._more
            elif self._linger(until) or desk.taken:
                if self._linger_seconds <= 0:
                    self._wait(LOOK)
                woken = look = True
                ask = _FIRST
            else:
                return

    def _claim(self, many: int) -> list[Seated]:
        """Claim; while bodies are in hand, also for as long as the database is away."""
        desk = self._desk
        while True:
            desk.link.pace.rest()
            try:
                claimed, self._more = desk.claim_for(many, self._queues)
            except Unavailable as error:
                if not desk.taken or desk.must_end():
                    raise
                pause = desk.backoff.next()
                logger.warning("no claim, trying again in %.2g s: %s", pause, error)
                self._rest(pause)
            else:
                desk.backoff.reset()
                return claimed

    def _room(self) -> int:
        desk = self._desk
        # What else is executed in this worker is counted, but does not keep runs away for ever.
        allowed = max(1, desk.most - self._others())
        return max(0, allowed - desk.taken)

    def _wait(self, seconds: float, for_what: Callable[[], bool] = bool) -> None:
        with self._desk.changed:
            self._desk.changed.wait_for(for_what, seconds)

    def _ring_soon(self, queues: dict[str, int]) -> None:
        for queue, many in queues.items():
            _ringer(self._bell).ring(queue, many)


@cache
def _ringer(bell: Bell) -> Ringer:
    # In the background: commits must not wait for a broker that hangs.
    return Ringer(bell.ring)
