"""Processes by pid, safe against pids that were used again; Linux's /proc is the witness."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Process:
    """A server process: our own child, or one that a killed keeper left."""

    pid: int
    born: str
    arguments: list[str]
    child: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, child: subprocess.Popen[bytes], arguments: list[str]) -> "Process":
        """A process just started."""
        facts = _facts(child.pid)
        return cls(child.pid, facts[1] if facts else "", arguments, child)

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        if self.child is not None:
            return self.child.poll() is None
        facts = _facts(self.pid)
        return facts is not None and facts[1] == self.born

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def wait(self, seconds: float) -> bool:
        """Wait for its end."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def find(program: str, argument: str) -> list[Process]:
    """Live processes of a program that were started with an argument, parents only.

    A server's forked children may show their parent's command line for a moment.
    """
    found: dict[int, tuple[int, Process]] = {}
    for pid in _pids():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        arguments = raw.decode(errors="replace").split("\0")
        facts = _facts(pid)
        if facts and os.path.basename(arguments[0]) == program and argument in arguments:
            found[pid] = (facts[0], Process(pid, facts[1], arguments))
    return [process for parent, process in found.values() if parent not in found]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _facts(pid: int) -> tuple[int, str] | None:
    """Parent and moment of birth of a live process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else (int(parent), rest[17])
