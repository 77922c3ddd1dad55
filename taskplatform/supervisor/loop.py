"""The supervisor's loop: wait for a death or the next tick, then see to every duty that is due."""

import logging
import os
import select
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic

from taskplatform.celery.bell import Bell
from taskplatform.celery.queues import private
from taskplatform.celery.ringer import Ringer
from taskplatform.endpoints import database_url
from taskplatform.executor.slot import SHIFT
from taskplatform.executor.slots import SlotTable
from taskplatform.settings import get_settings
from taskplatform.storage import throttle_history, workers
from taskplatform.storage.dispatch import Outlook, release_due
from taskplatform.storage.prune import BATCH, prune
from taskplatform.supervisor import canvases, lanes
from taskplatform.supervisor.about import About
from taskplatform.supervisor.breaker import Breaker
from taskplatform.supervisor.breakers import BreakerLines
from taskplatform.supervisor.children import Children
from taskplatform.supervisor.gates import Gates
from taskplatform.supervisor.leases import Leases
from taskplatform.supervisor.pauses import Pauses
from taskplatform.supervisor.reports import Reports
from taskplatform.supervisor.rescue import Loss, Rescuer, lost_holders
from taskplatform.supervisor.retries import Retries
from taskplatform.supervisor.session import Database
from taskplatform.supervisor.unstarted import Unstarted
from taskplatform.supervisor.vacuum import Vacuum
from taskplatform.supervisor.watch import Watch

logger = logging.getLogger(__name__)

# While a child is in a shift, which may need to be helped, or stopped.
BUSY_TICK = 0.025
_LEAST_TICK = 0.002
# With a tick and the start of a shift, a quarter of a second.
DISPATCH_EVERY = 0.18
RESCUE_EVERY = 1.0
REPORT_EVERY = 3.0
PRUNE_EVERY = 60.0
UNSTARTED_EVERY = 1.0
VACUUM_EVERY = 0.5
_LONGEST = 60.0


class Supervisor:
    """One worker's supervisor; several workers' supervisors work side by side."""

    def __init__(self, about: About, table: SlotTable, bell: Bell) -> None:
        settings = get_settings()
        self._about = about
        self._table = table
        self._private = private(about.id)
        self._ringer = Ringer(partial(_ring, bell, self._private))
        self._database = Database(database_url(), about.name)
        self._rescuer = Rescuer(about.name, settings.queue, settings.put_off_limit)
        self._poll = select.poll()
        self._children = Children(table, self._poll)
        self._leases = Leases(about.parent, table, self._database)
        self._watch = Watch(about.parent, table, self._database, self._rescuer)
        self._unstarted = Unstarted(about.id, about.parent, about.name, settings.queue)
        self._retention_days = settings.retention_days
        self._breaker = Breaker(self._database, settings.breaker_crashes)
        self._pauses = Pauses(self._database, about.queues, about.pipelines, self._ring)
        self._gates = Gates(self._database, self._ring)
        self._breaker_lines = BreakerLines(self._database, about.queues, self._gates.make_ready)
        self._retries = Retries(
            self._database, self._pauses, self._gates, about.queues, settings.retry_budget
        )
        self._worker_lives = True
        self._next: dict[str, float] = {}
        self._urgent: dict[str, float] = {}
        self._reports = Reports(about, table, self._database)
        self._vacuum = Vacuum(table, self._database, database_url(), about.name)

    def run(self) -> None:
        """Supervise until the worker and all its children have ended."""
        try:
            parent = os.pidfd_open(self._about.parent)
        except ProcessLookupError:
            return
        self._poll.register(parent, select.POLLIN)
        self._worker_lives = os.getppid() == self._about.parent
        while True:
            for fd in self._awaken():
                if fd == parent:
                    self._poll.unregister(parent)
                    self._worker_lives = False
            self._see_to_everything()
            if not self._worker_lives and not self._children.any_left():
                break
        self._say_goodbye()

    def _awaken(self) -> list[int]:
        """Wait for a death, a shift or what has to be seen to; what can be read from."""
        wake = self._table.wake
        assert wake is not None
        with suppress(BlockingIOError):
            os.eventfd_read(wake)
        # After that: a shift that begins from here on is heard.
        busy = any(slot.state == SHIFT for slot in self._table.taken())
        # What is due at a known moment is not kept waiting for a tick.
        left = max(_LEAST_TICK, min(self._urgent.values(), default=0.0) - monotonic())
        if busy:
            return [fd for fd, _ in self._poll.poll(1000 * min(left, BUSY_TICK))]
        self._poll.register(wake, select.POLLIN)
        try:
            return [fd for fd, _ in self._poll.poll(1000 * left)]
        finally:
            self._poll.unregister(wake)

    def _see_to_everything(self) -> None:
        self._bury()
        self._children.adopt()
        self._ring(self._watch.tick())
        self._leases.tick()
        # First of all: what no living worker serves is not let go of a line.
        self._every("report", REPORT_EVERY, self._reports.tick)
        self._every("pauses", _LONGEST, self._pauses.tick)
        self._every("dispatch", DISPATCH_EVERY, self._dispatch)
        self._every("gates", _LONGEST, self._gates.heal)
        self._every("retries", _LONGEST, self._retries.tick)
        self._every("breakers", _LONGEST, self._breaker_lines.tick)
        self._every("canvases", _LONGEST, lambda: canvases.sweep(self._database))
        self._every("lanes", _LONGEST, lambda: lanes.sweep(self._database))
        self._every("rescue", RESCUE_EVERY, self._rescue_others)
        self._every("prune", PRUNE_EVERY, self._prune)
        self._every("unstarted", UNSTARTED_EVERY, self._end_unstarted)
        self._every("vacuum", VACUUM_EVERY, self._vacuum.tick)

    def _bury(self) -> None:
        dead = [
            (slot, note, self._watch.cause_of_death(slot, note))
            for slot, note in self._children.buried()
        ]
        # Children of a worker that is gone as a whole were killed with it; and of several bodies in
        # one process nobody can tell which of them it was.
        bodies = Counter(slot.pid for slot, note, _ in dead if note)
        self._breaker.died(
            [
                note
                for slot, note, cause in dead
                if note
                and cause == "crashed"
                and bodies[slot.pid] == 1
                and (self._worker_lives or slot.pid == self._about.parent)
            ]
        )
        for slot, note, cause in dead:
            if slot.holder:
                self._rescue(Loss(slot.holder, cause, note, certain=True))
            slot.reset(0)

    def _every(self, duty: str, seconds: float, see_to: Callable[[], float | None]) -> None:
        now = monotonic()
        if now >= self._next.get(duty, 0.0):
            sooner = see_to()
            wait = seconds if sooner is None else max(0.0, min(seconds, sooner))
            self._next[duty] = now + wait
            # The others are patient: whoever wakes for these sees to them, too.
            self._urgent.pop(duty, None)
            if wait <= DISPATCH_EVERY:
                self._urgent[duty] = now + wait

    def _dispatch(self) -> float | None:
        seen = self._database.ask(
            self._pauses.outlook,
            Outlook([], None),
        )
        moments = [one for one in (seen.next_due, seen.next_gate) if one is not None]
        next = min(moments, default=None)
        if next is None or next > 0:
            if seen.ready and not self._table.shutting_down:
                self._open_shift_here()
            return next
        went = 0
        if seen.next_gate is not None and seen.next_gate <= 0:
            went = self._gates.let_go()
        if seen.next_due is not None and seen.next_due <= 0:
            nothing_due: dict[str, int] = {}
            released = self._database.ask(release_due, nothing_due)
            self._ring(released)
            went += sum(released.values())
        # What is due and was not released is locked by somebody.
        return DISPATCH_EVERY if self._table.shutting_down else 0.0 if went else BUSY_TICK

    def _open_shift_here(self) -> None:
        # Ready work that nobody took: its ring was lost, or went to a worker that is busy.
        idle = self._about.concurrency - sum(
            1 for slot in self._table.taken() if slot.state == SHIFT
        )
        if idle > 0:
            self._ring({self._private: 1})

    def _rescue_others(self) -> None:
        if monotonic() < self._database.reap_from:
            return
        for loss in self._database.ask(lost_holders, ()):
            self._rescue(loss)

    def _rescue(self, loss: Loss) -> None:
        none: set[str] = set()
        queues = self._database.ask(lambda connection: self._rescuer.rescue(connection, loss), none)
        self._ring(dict.fromkeys(queues, 1))

    def _prune(self) -> float | None:
        pruned = self._database.ask(lambda connection: prune(connection, self._retention_days), 0)
        self._database.ask(throttle_history.roll_up, None)
        # A whole batch: there is more, and it need not wait.
        return 1.0 if pruned == BATCH else None

    def _end_unstarted(self) -> None:
        if self._unstarted.any_declared():
            none: dict[str, int] = {}
            self._ring(self._database.ask(self._unstarted.end, none))

    def _ring(self, queues: dict[str, int]) -> None:
        # In the background: leases must not wait for a broker that hangs.
        for queue, many in queues.items():
            self._ringer.ring(queue, many)

    def _say_goodbye(self) -> None:
        for holder in self._leases.holders():
            cause = "interrupted" if self._table.shutting_down else "crashed"
            self._rescue(Loss(holder, cause, None, certain=True))
        self._database.ask(lambda connection: workers.gone(connection, self._about.id), None)


def _ring(bell: Bell, own: str, queues: Mapping[str, int]) -> bool:
    """Ring; of what was asked for the worker's own queue while that took long, once is enough."""
    others = {queue: many for queue, many in queues.items() if queue != own}
    bell.ring(others)
    if own in queues:
        bell.ring({own: 1}, most=1)
    return False
