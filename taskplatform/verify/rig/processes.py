"""Processes by their pids, as the kernel knows them."""

import os
import signal
from contextlib import suppress
from pathlib import Path

_SUPERVISOR = b"taskplatform.supervisor"


def children(pid: int) -> list[int]:
    """The living children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):
            found += [int(one) for one in (task / "children").read_text().split()]
    return [one for one in found if state(one) not in ("", "Z")]


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    return [pid, *(one for child in children(pid) for one in tree(child))]


def state(pid: int) -> str:
    """R, S, T, Z...; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_supervisor(pid: int) -> bool:
    """Whether a worker's child is its supervisor and no pool child."""
    with suppress(OSError):
        return _SUPERVISOR in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def send(pids: list[int], number: signal.Signals) -> None:
    """Signal those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
