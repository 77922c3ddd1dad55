"""Slots: what each pool child is doing, in memory that it shares with the supervisor.

One page-sized header, then one slot a child. A child writes its own slot, the supervisor writes
the lease deadline and the requests to it; neither takes a lock.
Times are CLOCK_MONOTONIC in nanoseconds, which all processes of a machine share.
"""

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator

from taskplatform.executor.slot import HEADER, SIZE, Slot

SLOTS = 4096
_ALL = HEADER + SLOTS * SIZE
# So many are read at once.
_PART = 64
_PID_BITS = 0xFFFFFFFF

# Header: when a warm shutdown's grace ends (0: none), cold shutdown, other messages wait.
_GRACE_ENDS, _COLD, _MESSAGES_WAIT, _CLAIM_LOCK = 0, 8, 9, 16


class SlotTable:
    """The shared memory; made by the worker before it forks, opened by the supervisor."""

    def __init__(self, fd: int, wake: int | None = None) -> None:
        """`wake` is an eventfd that is written to when a shift begins."""
        self.fd = fd
        self.wake = wake
        self._memory = mmap.mmap(fd, _ALL)
        # Numbers are stored through these in one piece; struct.pack_into clears the bytes first,
        # and whoever read the sequence number then took half a note for a whole one.
        self._words = memoryview(self._memory).cast("q")
        self._halves = memoryview(self._memory).cast("I")
        self._slots: dict[int, Slot] = {}
        self._allocation = threading.Lock()

    @classmethod
    def create(cls) -> "SlotTable":
        """Make an empty table in memory of its own."""
        fd = os.memfd_create("taskplatform-slots", os.MFD_CLOEXEC)
        os.ftruncate(fd, _ALL)
        return cls(fd, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))

    def allocate(self) -> Slot:
        """Take a free slot for the calling process or thread."""
        with self._allocation:
            # Processes exclude each other by the file lock, threads by the other.
            fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, _CLAIM_LOCK)
            try:
                for slot, owned in self._read():
                    if not owned:
                        slot.reset(os.getpid())
                        return slot
            finally:
                fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, _CLAIM_LOCK)
        raise RuntimeError(f"more than {SLOTS} pool children in one worker")

    def taken(self) -> list[Slot]:
        """The slots that have an owner; the first free one of a never-used rest ends the search."""
        found: list[Slot] = []
        for slot, owned in self._read():
            if owned:
                found.append(slot)
            elif not slot.holder and not slot.used:
                break
        return found

    def _read(self) -> Iterator[tuple[Slot, bool]]:
        # Many words at once: there may be a thousand slots, and they are looked at all the time.
        step = SIZE // 8
        for part in range(0, SLOTS, _PART):
            first = HEADER // 8 + part * step
            heads = self._words[first : first + min(_PART, SLOTS - part) * step : step].tolist()
            for at, head in enumerate(heads, part):
                yield self._slot(at), bool(head & _PID_BITS)

    def _slot(self, number: int) -> Slot:
        found = self._slots.get(number)
        if found is None:
            made = Slot(self._memory, self._words, self._halves, number, self.wake)
            found = self._slots.setdefault(number, made)
        return found

    @property
    def grace_ends_ns(self) -> int:
        return self._words[_GRACE_ENDS // 8]

    @grace_ends_ns.setter
    def grace_ends_ns(self, value: int) -> None:
        self._words[_GRACE_ENDS // 8] = value

    @property
    def shutting_down(self) -> bool:
        return self._words[_GRACE_ENDS // 8] != 0 or self._memory[_COLD] != 0

    @property
    def cold(self) -> bool:
        return self._memory[_COLD] != 0

    @cold.setter
    def cold(self, value: bool) -> None:
        self._memory[_COLD] = int(value)

    @property
    def disturbed(self) -> bool:
        """Whether the worker shuts down, or messages wait: all that is in the first two words."""
        return self._words[_GRACE_ENDS // 8] != 0 or self._words[_COLD // 8] != 0

    @property
    def messages_wait(self) -> bool:
        return self._memory[_MESSAGES_WAIT] != 0

    @messages_wait.setter
    def messages_wait(self, value: bool) -> None:
        self._memory[_MESSAGES_WAIT] = int(value)
