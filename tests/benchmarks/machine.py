"""What the kernel knows: the CPU time of processes, and what machine this is."""

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    parent: int
    seconds: float


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU seconds of these processes, their descendants, and the dead that those waited for."""
    processes = dict(_processes())
    children: dict[int, list[int]] = defaultdict(list)
    for pid, process in processes.items():
        children[process.parent].append(pid)
    seconds, seen, stack = 0.0, set(), list(roots)
    while stack:
        pid = stack.pop()
        if pid in processes and pid not in seen:
            seen.add(pid)
            seconds += processes[pid].seconds
            stack += children[pid]
    return seconds


def describe() -> dict[str, object]:
    """The machine, as it goes into the report."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processes() -> Iterator[tuple[int, _Process]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # utime, stime, and both of the children it has waited for.
        yield int(folder.name), _Process(int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)
