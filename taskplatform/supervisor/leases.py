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
        taken = [slot for slot in self._table.taken() if slot.holder]
        # Many seats are one process.
        stopped = {pid for pid in {self._parent, *(slot.pid for slot in taken)} if _stopped(pid)}
        slots = [slot for slot in taken if not {slot.pid, self._parent} & stopped]
        slots = [slot for slot in slots if _is_within_limit(slot)]
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


def _is_within_limit(slot: Slot) -> bool:
    note = slot.note()
    if note is None:
        return True
    if note.hard_deadline_ns and monotonic_ns() - note.hard_deadline_ns > _KILL_SECONDS * 1e9:
        return False
    return not is_silent(slot, note, HARD_GRACE + _KILL_SECONDS)


def _stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")
