"""Renewing the leases of children that live, are not stopped and are within their hard limit."""

import logging
from pathlib import Path
from time import monotonic, monotonic_ns

from taskplatform.executor.begun import HARD_GRACE
from taskplatform.executor.child import SAFETY
from taskplatform.executor.slot import Slot
from taskplatform.executor.slots import SlotTable
from taskplatform.storage.leases import LEASE_SECONDS, renew
from taskplatform.supervisor.progress import is_silent
from taskplatform.supervisor.session import Database

logger = logging.getLogger(__name__)

RENEW_EVERY = 3.0
# How long after its hard limit a body keeps its lease: the time to kill it takes less.
_KILL_SECONDS = 3.0


class Leases:
    """Renews every few seconds; a holder it does not renew is rescued when its lease ends."""

    def __init__(self, parent: int, table: SlotTable, database: Database) -> None:
        self._parent = parent
        self._table = table
        self._database = database
        self._next = 0.0

    def holders(self) -> list[int]:
        """The holders of this worker."""
        return [slot.holder for slot in self._table.taken() if slot.holder]

    def tick(self) -> None:
        """Renew if it is time."""
        if monotonic() < self._next:
            return
        self._next = monotonic() + RENEW_EVERY
        slots = [slot for slot in self._table.taken() if slot.holder and self._deserves(slot)]
        began = monotonic_ns()
        wanted = [slot.holder for slot in slots]
        renewed = self._database.ask(lambda connection: renew(connection, wanted), None)
        if renewed is None:
            # Not known: the lease in the database may be renewed or not, so let it run out here.
            self._next = monotonic() + 0.5
            return
        until = began + int((LEASE_SECONDS - SAFETY) * 1e9)
        for slot, holder in zip(slots, wanted, strict=True):
            if holder in renewed:
                if slot.holder == holder:
                    slot.lease_until_ns = until
            elif slot.holder == holder:
                logger.warning("holder %d was given up by others; its child starts anew", holder)
                slot.lease_until_ns = 0

    def _deserves(self, slot: Slot) -> bool:
        note = slot.note()
        if note is not None and note.hard_deadline_ns:
            overdue = monotonic_ns() - note.hard_deadline_ns
            if overdue > _KILL_SECONDS * 1e9:
                return False
        if note is not None and is_silent(slot, note, HARD_GRACE + _KILL_SECONDS):
            return False
        return not _stopped(slot.pid) and not _stopped(self._parent)


def _stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")
