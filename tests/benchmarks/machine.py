"""What the kernel knows: CPU time and memory of processes, and what machine this is."""

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


class Memory(NamedTuple):
    """MB of processes: shared pages in equal parts to those that share them, or in full to each.

    `own` is the first without the pages of files.
    """

    pss: float
    rss: float
    own: float


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU seconds of these processes, their descendants, and the dead that those waited for."""
    processes = dict(_processes())
    return sum(processes[pid].seconds for pid in _tree(processes, roots))


def descendants(roots: Iterable[int]) -> list[int]:
    """These processes and all that they started and that live."""
    return sorted(_tree(dict(_processes()), roots))


def memory(pids: Iterable[int]) -> Memory:
    """Of these processes together, without their descendants."""
    pss = rss = files = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except (FileNotFoundError, ProcessLookupError):
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        pss, rss, files = pss + sizes["Pss"], rss + sizes["Rss"], files + sizes["Pss_File"]
    return Memory(pss / 1024, rss / 1024, (pss - files) / 1024)


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


def _tree(processes: dict[int, _Process], roots: Iterable[int]) -> set[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for pid, process in processes.items():
        children[process.parent].append(pid)
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        pid = stack.pop()
        if pid in processes and pid not in seen:
            seen.add(pid)
            stack += children[pid]
    return seen


def _processes() -> Iterator[tuple[int, _Process]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # utime, stime, and both of the children it has waited for.
        yield int(folder.name), _Process(int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)
