"""Watching the bodies that run: long ones, overdue ones, unwanted ones, and those in the way."""

import contextlib
import logging
import os
import signal
from collections.abc import Sequence
from functools import partial
from time import monotonic, monotonic_ns

from taskplatform.executor.begun import HARD_GRACE
from taskplatform.executor.notes import Note
from taskplatform.executor.slot import Slot
from taskplatform.executor.slots import SlotTable
from taskplatform.storage.connection import Session
from taskplatform.storage.running import mark_all, still_held
from taskplatform.supervisor.progress import Progress, is_silent
from taskplatform.supervisor.rescue import Rescuer
from taskplatform.supervisor.session import Database

logger = logging.getLogger(__name__)

# A body that runs longer than this is no short one: it is marked, and what waits behind it freed.
SHORT = 0.05
# What a seat holds is begun within milliseconds, and on a busy machine within this.
WAITS = 0.25
# ctx.cancelled turns true within half a second.
WANTED_EVERY = 0.4
# An interrupted body may clean up for so long.
CLEAN_UP = 1.0

Body = tuple[int, int, int]
_NONE: set[str] = set()


class Watch:
    """What the supervisor does about bodies, tick by tick."""

    def __init__(self, parent: int, table: SlotTable, database: Database, rescuer: Rescuer) -> None:
        self._parent = parent
        self._table = table
        self._database = database
        self._rescuer = rescuer
        self._marked: dict[int, Body] = {}
        self._interrupted: dict[int, tuple[Body, float]] = {}
        self._killed: dict[int, tuple[Body, str]] = {}
        self._progress = Progress(database)
        self._next_wanted = 0.0

    def tick(self) -> dict[str, int]:
        """Look at every running body; return the queues to ring."""
        now = monotonic_ns()
        slots = self._table.taken()
        notes = [(slot, note) for slot in slots if (note := slot.note())]
        lasting = [(slot, note) for slot, note in notes if now - note.started_ns > SHORT * 1e9]
        ring = self._last_longer(lasting) | self._take_back_waiting(slots, now)
        for slot, note in notes:
            if note.hard_deadline_ns and now > note.hard_deadline_ns:
                self._kill(slot, note, "timed-out")
            elif is_silent(slot, note, HARD_GRACE):
                self._kill(slot, note, "silent")
            if self._table.grace_ends_ns and now > self._table.grace_ends_ns:
                ring |= self._interrupt(slot, note)
        self._progress.tick(notes)
        if notes and monotonic() >= self._next_wanted:
            self._next_wanted = monotonic() + WANTED_EVERY
            self._tell_unwanted(notes)
        return dict.fromkeys(ring, 1)

    def cause_of_death(self, slot: Slot, note: Note | None) -> str:
        """Why a child died, as far as it was our doing."""
        killed = self._killed.pop(slot.pid, None)
        if note is not None and killed is not None and killed[0] == _body(note):
            return killed[1]
        return "interrupted" if self._table.shutting_down else "crashed"

    def _last_longer(self, lasting: Sequence[tuple[Slot, Note]]) -> set[str]:
        new = [one for one in lasting if self._marked.get(one[0].number) != _body(one[1])]
        if not new:
            return set()
        # While the database is away: the next tick asks again.
        return self._database.ask(lambda connection: self._make_way(connection, new), _NONE)

    def _make_way(self, connection: Session, lasting: Sequence[tuple[Slot, Note]]) -> set[str]:
        now = monotonic_ns()
        mark_all(
            connection,
            [(note.work_id, note.epoch, (now - note.started_ns) / 1e9) for _, note in lasting],
        )
        ring: set[str] = set()
        for slot, note in lasting:
            if slot.batch > 1:
                # Ask first, look again after: the child looks at the request after noting a body.
                slot.revoke = True
                if slot.note() == note:
                    # While this body runs nothing is added. What has ended may be uncommitted
                    # still, on a busy machine, and would be executed again: the next tick asks.
                    if slot.owes:
                        continue
                    ring |= self._rescuer.take_back(connection, slot.holder, note)
            self._marked[slot.number] = _body(note)
        return ring

    def _take_back_waiting(self, slots: Sequence[Slot], now: int) -> set[str]:
        """Take back what seats hold and nobody has in hand: a body blocks the loop, or the GIL."""
        waiting: list[tuple[int, int]] = []
        for slot in slots:
            since, work_id = slot.waiting
            if not since or now - since < WAITS * 1e9:
                continue
            slot.revoke = True
            if slot.waiting == (since, work_id):
                waiting.append((slot.holder, work_id))
            else:
                # It was begun between the two looks.
                slot.revoke = False
        if not waiting:
            return set()
        ask = partial(self._rescuer.take_back_waiting, waiting=waiting)
        return self._database.ask(ask, _NONE)

    def _kill(self, slot: Slot, note: Note, why: str) -> None:
        pid = slot.pid
        if pid == self._parent or self._killed.get(pid, (None,))[0] == _body(note):
            # A thread cannot be killed: its lease runs out, and its result will be refused.
            return
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # Through the pidfd it is this very process; through the note, this very body.
            if slot.pid == pid and slot.note() == note:
                logger.warning("killing child %d: its body is %s and does not end", pid, why)
                self._killed[pid] = _body(note), why
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)

    def _interrupt(self, slot: Slot, note: Note) -> set[str]:
        known = self._interrupted.get(slot.number)
        if known is None or known[0] != _body(note):
            self._interrupted[slot.number] = (_body(note), monotonic() + CLEAN_UP)
            slot.interrupt = True
            if slot.pid != self._parent:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.pid, signal.SIGALRM)
            return set()
        if monotonic() < known[1]:
            return set()
        self._interrupted[slot.number] = (_body(note), float("inf"))
        holder = slot.holder
        queues = self._database.ask(
            lambda connection: self._rescuer.hand_back(connection, holder, note), _NONE
        )
        if slot.pid != self._parent and slot.note() == note:
            with contextlib.suppress(ProcessLookupError):
                os.kill(slot.pid, signal.SIGKILL)
        return queues

    def _tell_unwanted(self, notes: list[tuple[Slot, Note]]) -> None:
        held = [(note.work_id, note.epoch) for _, note in notes]
        wanted = self._database.ask(lambda connection: still_held(connection, held), None)
        if wanted is None:
            return
        for slot, note in notes:
            if note.work_id not in wanted and slot.note() == note:
                slot.cancelled = True
                # Between the two looks its next body may have begun, which somebody does want.
                if slot.note() != note:
                    slot.cancelled = False


def _body(note: Note) -> Body:
    return note.work_id, note.epoch, note.started_ns
