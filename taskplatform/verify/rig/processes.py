"""Processes as the kernel lists them, without anything that has to be installed."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Seen:
    """A live process: its state is a letter of proc(5), `born` its start in clock ticks."""

    pid: int
    parent: int
    state: str
    born: str

    def command(self) -> list[str]:
        """Its command line; empty when it is gone."""
        with suppress(OSError):
            raw = Path(f"/proc/{self.pid}/cmdline").read_bytes()
            return raw.decode(errors="replace").rstrip("\0").split("\0")
        return []


def look(pid: int) -> Seen | None:
    """The process of that pid; None if there is none, or only its remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else Seen(pid, int(parent), state, rest[17])


def everything() -> Iterator[Seen]:
    """All live processes of the machine."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (seen := look(int(name))) is not None:
            yield seen


def children(pid: int) -> list[Seen]:
    """The live processes that `pid` started."""
    return [one for one in everything() if one.parent == pid]


def stopped(pid: int) -> bool:
    """Whether the process has been stopped and not continued."""
    seen = look(pid)
    return seen is not None and seen.state in "Tt"


def send(pids: Iterable[int], number: signal.Signals) -> list[int]:
    """Send a signal to each process that is there; those that got it."""
    got = []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            got.append(pid)
    return got


def gone(pids: Iterable[int], seconds: float) -> bool:
    """Wait until none of the processes lives any more."""
    until = time.monotonic() + seconds
    left = list(pids)
    while left := [pid for pid in left if look(pid) is not None]:
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)
    return True
