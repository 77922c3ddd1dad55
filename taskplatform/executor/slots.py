"""Slots: what each pool child is doing, in memory that it shares with the supervisor.

One page-sized header, then one slot a child. A child writes its own slot, the supervisor writes
the lease deadline and the requests to it; neither takes a lock. The note of the running body and
its last report are each guarded by a sequence number (odd while it is written), so a reader never
sees half of them.
Times are CLOCK_MONOTONIC in nanoseconds, which all processes of a machine share.
"""

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic_ns
from typing import NamedTuple

SLOTS = 1024
_HEADER = 4096
_SLOT = 192
_SIZE = _HEADER + SLOTS * _SLOT

# Header: when a warm shutdown's grace ends (0: none), cold shutdown, other messages wait.
_GRACE_ENDS, _COLD, _MESSAGES_WAIT, _CLAIM_LOCK = 0, 8, 9, 16
# Slot fields.
_PID, _STATE, _HOLDER, _LEASE = 0, 4, 8, 16
# A sequence number is followed by what it guards.
_SEQUENCE = 24  # note: work, epoch, started, hard deadline
_REVOKE, _CANCELLED, _INTERRUPT, _OWES, _REFUSED, _BATCH = 64, 65, 66, 67, 72, 80
_REPORT_SEQUENCE = 88  # report: work, epoch, started, beat, silence, done, total

FREE, IDLE, SHIFT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Note:
    """The body that runs now; a hard deadline of 0 means none."""

    work_id: int
    epoch: int
    started_ns: int
    hard_deadline_ns: int


class Report(NamedTuple):
    """The last word of a body; `done` and `total` are NaN when not known.

    A `silence_ns` of 0 means that it need not report at all.
    """

    work_id: int
    epoch: int
    started_ns: int
    beat_ns: int
    silence_ns: int
    done: float
    total: float


class SlotTable:
    """The shared memory; made by the worker before it forks, opened by the supervisor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _SIZE)
        # Numbers are stored through these in one piece; struct.pack_into clears the bytes first,
        # and whoever read the sequence number then took half a note for a whole one.
        self._words = memoryview(self._memory).cast("q")
        self._halves = memoryview(self._memory).cast("I")
        self._allocation = threading.Lock()

    @classmethod
    def create(cls) -> "SlotTable":
        """Make an empty table in memory of its own."""
        fd = os.memfd_create("taskplatform-slots", os.MFD_CLOEXEC)
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    def allocate(self) -> "Slot":
        """Take a free slot for the calling process or thread."""
        with self._allocation:
            # Processes exclude each other by the file lock, threads by the other.
            fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, _CLAIM_LOCK)
            try:
                for slot in self.all():
                    if slot.pid == 0:
                        slot.reset(os.getpid())
                        return slot
            finally:
                fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, _CLAIM_LOCK)
        raise RuntimeError(f"more than {SLOTS} pool children in one worker")

    def all(self) -> Iterator["Slot"]:
        """Every slot, taken or free."""
        for number in range(SLOTS):
            yield Slot(self._memory, self._words, self._halves, number)

    def taken(self) -> list["Slot"]:
        """The slots that have an owner; the first free one of a never-used rest ends the search."""
        found = []
        for slot in self.all():
            if slot.pid:
                found.append(slot)
            elif not slot.holder and not slot.used:
                break
        return found

    @property
    def grace_ends_ns(self) -> int:
        return self._words[_GRACE_ENDS // 8]

    @grace_ends_ns.setter
    def grace_ends_ns(self, value: int) -> None:
        self._words[_GRACE_ENDS // 8] = value

    @property
    def shutting_down(self) -> bool:
        return self.grace_ends_ns != 0 or self.cold

    @property
    def cold(self) -> bool:
        return self._memory[_COLD] != 0

    @cold.setter
    def cold(self, value: bool) -> None:
        self._memory[_COLD] = int(value)

    @property
    def messages_wait(self) -> bool:
        return self._memory[_MESSAGES_WAIT] != 0

    @messages_wait.setter
    def messages_wait(self, value: bool) -> None:
        self._memory[_MESSAGES_WAIT] = int(value)


class _Flag:
    """A byte of a slot, 0 or 1."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, slot: "Slot", owner: type) -> bool:
        return slot._memory[slot._at + self._place] != 0

    def __set__(self, slot: "Slot", value: bool) -> None:
        slot._memory[slot._at + self._place] = int(value)


class Slot:
    """One child's part of the table."""

    __slots__ = ("_at", "_halves", "_memory", "_words", "number")

    # The supervisor takes back what the child has claimed and not started.
    revoke = _Flag(_REVOKE)
    # Bodies of the batch have ended whose outcome is not committed yet.
    owes = _Flag(_OWES)
    # The running body's result is not wanted any more.
    cancelled = _Flag(_CANCELLED)
    # The running body has to end now: the grace of the shutdown is over.
    interrupt = _Flag(_INTERRUPT)

    def __init__(
        self,
        memory: mmap.mmap,
        words: "memoryview[int]",
        halves: "memoryview[int]",
        number: int,
    ) -> None:
        self._memory = memory
        self._words = words
        self._halves = halves
        self._at = _HEADER + number * _SLOT
        self.number = number

    def reset(self, pid: int) -> None:
        """Clear the slot; a pid of 0 frees it."""
        self._memory[self._at + 4 : self._at + _SLOT - 1] = bytes(_SLOT - 5)
        self._memory[self._at + _SLOT - 1] = 1
        self._halves[(self._at + _PID) // 4] = pid

    @property
    def used(self) -> bool:
        return self._memory[self._at + _SLOT - 1] != 0

    @property
    def pid(self) -> int:
        return self._halves[(self._at + _PID) // 4]

    @property
    def state(self) -> int:
        return self._memory[self._at + _STATE]

    @state.setter
    def state(self, value: int) -> None:
        self._memory[self._at + _STATE] = value

    @property
    def holder(self) -> int:
        return self._get(_HOLDER)

    @holder.setter
    def holder(self, value: int) -> None:
        self._set(_HOLDER, value)

    @property
    def lease_until_ns(self) -> int:
        return self._get(_LEASE)

    @lease_until_ns.setter
    def lease_until_ns(self, value: int) -> None:
        self._set(_LEASE, value)

    @property
    def lease_holds(self) -> bool:
        return monotonic_ns() < self._get(_LEASE)

    @property
    def batch(self) -> int:
        """How many branches the child holds now."""
        return self._get(_BATCH)

    @batch.setter
    def batch(self, value: int) -> None:
        self._set(_BATCH, value)

    @property
    def refused(self) -> int:
        """Stale writes of this child that were refused."""
        return self._get(_REFUSED)

    @refused.setter
    def refused(self, value: int) -> None:
        self._set(_REFUSED, value)

    def begin(self, work_id: int, epoch: int, hard_deadline_ns: int) -> int:
        """Note that the body of (work, epoch) starts now; when that is."""
        now = monotonic_ns()
        self._write(_SEQUENCE, (work_id, epoch, now, hard_deadline_ns))
        return now

    def end(self) -> None:
        """Note that no body runs."""
        self._write(_SEQUENCE, (0, 0, 0, 0))
        self._memory[self._at + _CANCELLED] = 0

    def note(self) -> Note | None:
        """The running body, or None."""
        values = self._read(_SEQUENCE, 4)
        # None: its writer died in the middle of it, so the body had not started or had ended.
        return Note(*values) if values and values[0] else None

    def write_report(self, report: Report) -> None:
        """Replace the last report; the callers exclude each other."""
        bits = struct.unpack("qq", struct.pack("dd", report.done, report.total))
        self._write(_REPORT_SEQUENCE, (*report[:5], *bits))

    def report(self) -> Report | None:
        """The last report of whichever body reported last, or None."""
        values = self._read(_REPORT_SEQUENCE, 7)
        if not values or not values[0]:
            return None
        done, total = struct.unpack("dd", struct.pack("qq", *values[5:]))
        work_id, epoch, started, beat, silence = values[:5]
        return Report(work_id, epoch, started, beat, silence, done, total)

    def _write(self, sequence: int, fields: tuple[int, ...]) -> None:
        # Odd from here on, also if the alarm's exception cut off the last writing.
        number = self._get(sequence) | 1
        self._set(sequence, number)
        words, place = self._words, (self._at + sequence) // 8 + 1
        for field in fields:
            words[place] = field
            place += 1
        self._set(sequence, number + 1)

    def _read(self, sequence: int, count: int) -> list[int] | None:
        place = (self._at + sequence) // 8 + 1
        for _ in range(1000):
            before = self._get(sequence)
            values = self._words[place : place + count].tolist()
            if before % 2 == 0 and self._get(sequence) == before:
                return values
        return None

    def _get(self, offset: int) -> int:
        return self._words[(self._at + offset) // 8]

    def _set(self, offset: int, value: int) -> None:
        self._words[(self._at + offset) // 8] = value
