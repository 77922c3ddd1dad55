"""Slot: one child's part of the shared memory.

The note of the running body and its last report are each guarded by a sequence number (odd while it
is written), so a reader never sees half of them.
"""

import mmap
import os
import struct
from time import monotonic_ns

from taskplatform.executor.notes import Note, Report

# Where the slots begin, and how long each is.
HEADER = 4096
SIZE = 192

# Fields.
_PID, _STATE, _HOLDER, _LEASE = 0, 4, 8, 16
# A sequence number is followed by what it guards.
_SEQUENCE = 24  # note: work, epoch, started, hard deadline
_REVOKE, _CANCELLED, _INTERRUPT, _OWES, _REFUSED, _BATCH = 64, 65, 66, 67, 72, 80
_REPORT_SEQUENCE = 88  # report: work, epoch, started, beat, silence, done, total
_WAITS, _WAITS_FOR = 152, 160
_CLAIMED = 168

FREE, IDLE, SHIFT = 0, 1, 2


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

    __slots__ = ("_at", "_halves", "_memory", "_wake", "_words", "number")

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
        wake: int | None = None,
    ) -> None:
        """`wake` is the eventfd by which the supervisor hears of the beginning of a shift."""
        self._wake = wake
        self._memory = memory
        self._words = words
        self._halves = halves
        self._at = HEADER + number * SIZE
        self.number = number

    def reset(self, pid: int) -> None:
        """Clear the slot; a pid of 0 frees it."""
        self._memory[self._at + 4 : self._at + SIZE - 1] = bytes(SIZE - 5)
        self._memory[self._at + SIZE - 1] = 1
        self._halves[(self._at + _PID) // 4] = pid

    @property
    def used(self) -> bool:
        return self._memory[self._at + SIZE - 1] != 0

    @property
    def pid(self) -> int:
        return self._halves[(self._at + _PID) // 4]

    @property
    def state(self) -> int:
        return self._memory[self._at + _STATE]

    @state.setter
    def state(self, value: int) -> None:
        before = self._memory[self._at + _STATE]
        self._memory[self._at + _STATE] = value
        if value == SHIFT != before and self._wake is not None:
            os.eventfd_write(self._wake, 1)

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
        return monotonic_ns() < self._words[(self._at + _LEASE) // 8]

    @property
    def must_stop(self) -> bool:
        """Whether no body may start here: the lease is in doubt, or the grace is over."""
        # Spelled out: it is asked before every body.
        at = self._at
        return monotonic_ns() >= self._words[(at + _LEASE) // 8] or (
            self._memory[at + _INTERRUPT] != 0
        )

    @property
    def batch(self) -> int:
        """How many branches the child holds now."""
        return self._get(_BATCH)

    @batch.setter
    def batch(self, value: int) -> None:
        self._set(_BATCH, value)

    @property
    def waiting(self) -> tuple[int, int]:
        """Since when which work is held that nobody has in hand; (0, 0): none."""
        since = self._get(_WAITS)
        return (since, self._get(_WAITS_FOR)) if since else (0, 0)

    def wait(self, work_id: int) -> None:
        """Note that the work is held from now on, and waits to be taken in hand."""
        self._set(_WAITS, 0)
        self._set(_WAITS_FOR, work_id)
        self._set(_WAITS, monotonic_ns())

    def take_in_hand(self) -> None:
        """Note that somebody sees to the work that is held."""
        self._set(_WAITS, 0)

    @property
    def refused(self) -> int:
        """Stale writes of this child that were refused."""
        return self._get(_REFUSED)

    @refused.setter
    def refused(self, value: int) -> None:
        self._set(_REFUSED, value)

    @property
    def claimed(self) -> int:
        """How many branches this child has claimed so far."""
        return self._get(_CLAIMED)

    @claimed.setter
    def claimed(self, value: int) -> None:
        self._set(_CLAIMED, value)

    def begin(self, work_id: int, epoch: int, hard_deadline_ns: int) -> int:
        """Note that the body of (work, epoch) starts now; when that is."""
        now = monotonic_ns()
        # As _write, which is too slow for what is done around every body.
        words, place = self._words, (self._at + _SEQUENCE) // 8
        number = words[place] | 1
        words[place] = number
        words[place + 1], words[place + 2] = work_id, epoch
        words[place + 3], words[place + 4] = now, hard_deadline_ns
        words[place] = number + 1
        return now

    def end(self) -> None:
        """Note that no body runs."""
        # One word, which nobody can see half of; without it the rest means nothing.
        self._words[(self._at + _SEQUENCE) // 8 + 1] = 0
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
