"""The shift: one Celery task in which a pool child claims and executes work until there is none."""

import logging
import os
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from time import monotonic

from taskplatform.celery.bell import ATTENDS, SLICE, Bell
from taskplatform.errors import Unavailable
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.executor.slot import IDLE, SHIFT
from taskplatform.storage.claim import Claimed

logger = logging.getLogger(__name__)

# A ring can be lost: a lingering shift looks for work by itself this often.
LOOK = 0.25
# So long a shift looks for work alone before it tries a broker again that was away.
AGAIN = 1.0
# How often one that attends says so again.
_SAY = ATTENDS / 2
# How seldom one with a backlog rings for others; idle workers look for themselves, too.
_LONGEST_PATIENCE = 1.0


class Shift:
    """One pool child at work."""

    def __init__(
        self, child: Child, queues: Sequence[str], bell: Bell, linger_seconds: float
    ) -> None:
        self._child = child
        self._queues = queues
        self._bell = bell
        self._linger_seconds = linger_seconds
        self._broker_away = False
        self._listener = f"{child.worker}:{child.slot.number}"
        self._attends_until = 0.0
        self._rang_others = 0.0
        self._patience = ATTENDS

    def work(self, until: float) -> None:
        """Work until nothing is left, somebody else needs the child, or `until` (monotonic)."""
        child = self._child
        child.slot.state = SHIFT
        more = False
        try:
            woken = look = True
            while not child.must_end():
                claimed: list[Claimed] = []
                if look:
                    child.link.pace.rest()
                    claimed, more = child.claim(self._queues)
                    child.remember(claimed)
                    child.backoff.reset()
                if claimed:
                    # Whoever wakes to more than it can take wakes the next one.
                    if more and (woken or self._may_ring_others()):
                        self._ring_others()
                    woken = False
                    if self._attends_until and claimed[0].started:
                        self._disregard()
                    Batch(child, self.ring).execute(claimed)
                    # If not, lingering begins with a look, which costs less than a vain claim.
                    look = more or self._attends_until != 0
                    if look and not claimed[0].started:
                        self._attend()
                    if child.table.messages_wait or self._is_over(until):
                        break
                elif self._linger(until):
                    woken = look = True
                else:
                    more = False
                    break
        except Unavailable as error:
            pause = child.backoff.next()
            logger.warning("the shift ends, the next one in %.2g s: %s", pause, error)
            more = False
            self._rest(pause)
        finally:
            child.slot.state = IDLE
        if self._attends_until:
            self._disregard()
        elif more and not child.table.shutting_down:
            self._ring_others()
        if child.leaving and not child.table.shutting_down:
            os.kill(os.getpid(), signal.SIGTERM)

    def _attend(self) -> None:
        """Tell that this child looks again as soon as it has done what it has."""
        now = monotonic()
        if now < self._attends_until - _SAY:
            return
        try:
            self._bell.attend(self._queues, self._listener, ATTENDS)
            self._attends_until = now + ATTENDS
        except Unavailable as error:
            logger.debug("nobody knows that this child attends: %s", error)

    def _disregard(self) -> None:
        """Attend no more; what was meant for this child meanwhile is for the others."""
        self._attends_until = 0.0
        try:
            self._bell.attend(self._queues, self._listener, 0)
        except Unavailable as error:
            logger.debug("this child is still thought to attend: %s", error)
        if self._child.ready(self._queues) and not self._child.table.shutting_down:
            self._ring_others()

    def _may_ring_others(self) -> bool:
        # Rings that nobody else hears are up to this child, while there is more than enough.
        return self._attends_until != 0 and monotonic() > self._rang_others + self._patience

    def _ring_others(self) -> None:
        now = monotonic()
        # A backlog that lasts has all the children there are: each message for one of them would
        # only end its shift and open another.
        lasts = now < self._rang_others + 2 * self._patience
        self._patience = min(_LONGEST_PATIENCE, 2 * self._patience) if lasts else ATTENDS
        self._rang_others = now
        try:
            self._bell.ring({self._queues[0]: 1}, attends=True)
        except Unavailable as error:
            logger.debug("ring lost: %s", error)

    def ring(self, queues: dict[str, int]) -> None:
        """Ring, if the broker can be reached; a ring is a hint."""
        try:
            self._bell.ring(queues)
        except Unavailable as error:
            logger.debug("ring lost: %s", error)

    def _rest(self, seconds: float) -> None:
        # In this shift: the next one would be opened at once, and ask a database that is away.
        child, until = self._child, monotonic() + seconds
        while monotonic() < until and not (child.must_end() or child.table.messages_wait):
            time.sleep(min(SLICE, max(0.0, until - monotonic())))

    def _is_over(self, until: float) -> bool:
        # While the broker is away nobody could open the next shift.
        return monotonic() > until and not self._broker_away

    def _linger(self, until: float) -> bool:
        """Wait for a ring; True: look for work again."""
        if self._linger_seconds <= 0 or self._is_over(until) or self._child.table.messages_wait:
            return False
        try:
            found = self._listen(until)
        except Unavailable as error:
            if not self._broker_away:
                logger.warning("no rings for now, looking for work instead: %s", error)
            self._broker_away = True
            return self._look_alone()
        self._broker_away = False
        return found

    def _look_alone(self) -> bool:
        """Look for work now and then; True also when it is time to try the broker again."""
        child = self._child
        again = monotonic() + AGAIN
        while not (child.must_end() or child.table.messages_wait):
            if child.ready(self._queues) or monotonic() > again:
                return True
            time.sleep(LOOK)
        return False

    def _listen(self, until: float) -> bool:
        child = self._child
        seconds = max(SLICE, min(self._linger_seconds, until - monotonic()))
        look, at_once = 0.0, True
        # Who attends is no longer believed to when this has begun: then it is looked once more.
        self._attends_until = 0.0
        with closing(self._bell.listen(self._queues, seconds, self._listener)) as listening:
            for rung in listening:
                if rung:
                    return True
                if child.must_end() or child.table.messages_wait:
                    return False
                if monotonic() > look:
                    if child.ready(self._queues):
                        if at_once:
                            self._attend()
                        return True
                    look = monotonic() + LOOK
                at_once = False
        # A ring that came between the last wait and the end of listening went to nobody.
        return child.ready(self._queues)
