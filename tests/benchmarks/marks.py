"""Marks: every executed body leaves one record, so that executions can be counted.

A record is appended by one write to a file in memory; the kernel keeps appends of several
processes whole and apart, so an execution too many is seen, also a simultaneous one.
"""

import os
import struct
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from time import monotonic_ns

VARIABLE = "BENCHMARK_MARKS"
_RECORD = struct.Struct("=IIq")


@cache
def descriptor() -> int:
    """The file of this process's place; looked up once, since each mark is a part of a body."""
    return os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND)


def mark(number: int, step: int) -> None:
    """Note, from inside a body, that the step of the run of this number executes now."""
    os.write(descriptor(), _RECORD.pack(number, step, monotonic_ns()))


def last_ns(path: Path) -> int:
    """When the last record was made, CLOCK_MONOTONIC."""
    return max(int(at) for _, _, at in _RECORD.iter_unpack(path.read_bytes()))


class Marks:
    """The file of records, as the one who judges sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def create() -> "Marks":
        """Make an empty file, in memory if there is a file system for that."""
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        descriptor, path = tempfile.mkstemp(prefix="taskplatform-marks-", dir=memory)
        os.close(descriptor)
        return Marks(Path(path))

    def clear(self) -> None:
        """Forget all records; nothing may be executing."""
        os.truncate(self.path, 0)

    def count(self) -> int:
        """How many bodies have started."""
        return self.path.stat().st_size // _RECORD.size

    def first_ns(self, number: int, step: int) -> int:
        """When that step of that run first started, CLOCK_MONOTONIC."""
        records = _RECORD.iter_unpack(self.path.read_bytes())
        return min(int(at) for run, which, at in records if (run, which) == (number, step))

    def problem(self, runs: int, steps: int) -> str | None:
        """What is wrong unless every step of every run, numbered from 0, executed exactly once."""
        found = Counter((run, step) for run, step, _ in _RECORD.iter_unpack(self.path.read_bytes()))
        wanted = {(run, step) for run in range(runs) for step in range(steps)}
        missing, foreign = wanted - found.keys(), found.keys() - wanted
        repeated = [one for one, times in found.items() if times > 1]
        if missing or foreign or repeated:
            return (
                f"of {runs} runs with {steps} step(s): {len(missing)} executions missing, "
                f"{len(repeated)} repeated, {len(foreign)} unknown"
            )
        return None

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink()
