"""Children: who works in the pool, and who has died, known at once from the kernel."""

import os
import select

from taskplatform.executor.notes import Note
from taskplatform.executor.slot import Slot
from taskplatform.executor.slots import SlotTable


class Children:
    """Watches the processes that own slots through their pidfds."""

    def __init__(self, table: SlotTable, poll: "select.poll") -> None:
        self._table = table
        self._poll = poll
        self._own = select.poll()
        self._fds: dict[int, int] = {}

    def adopt(self) -> None:
        """Start to watch the processes that have taken a slot since the last call."""
        for slot in self._table.taken():
            if slot.pid not in self._fds:
                try:
                    fd = os.pidfd_open(slot.pid)
                except ProcessLookupError:
                    continue
                self._fds[slot.pid] = fd
                self._poll.register(fd, select.POLLIN)
                self._own.register(fd, select.POLLIN)

    def buried(self) -> list[tuple[Slot, Note | None]]:
        """The slots of processes that have ended, and the body that each was in."""
        ended = {fd for fd, _ in self._own.poll(0)}
        living = {pid for pid, fd in self._fds.items() if fd not in ended}
        for pid in set(self._fds) - living:
            fd = self._fds.pop(pid)
            self._poll.unregister(fd)
            self._own.unregister(fd)
            os.close(fd)
        return [
            (slot, slot.note())
            for slot in self._table.taken()
            if slot.pid not in living and not _lives(slot.pid)
        ]

    def any_left(self) -> bool:
        """Whether a process that owns a slot still lives."""
        return any(_lives(slot.pid) for slot in self._table.taken())


def _ended(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _lives(pid: int) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # A zombie that its parent has not reaped yet has a pidfd, too, and it is readable.
        return not _ended(fd)
    finally:
        os.close(fd)
