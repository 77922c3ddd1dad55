"""Whose a connection is, by the port it comes from."""

import contextlib
import os
from collections.abc import Collection


def owners(ports: Collection[int]) -> list[int]:
    """The pids of the local processes that have a TCP connection from one of these ports."""
    if not ports:
        return []
    wanted = {f"socket:[{inode}]" for port, inode in _inodes() if port in ports}
    return sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit() and wanted & _open(pid))


def _inodes() -> list[tuple[int, str]]:
    found = []
    with open("/proc/net/tcp") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            found.append((int(fields[1].rpartition(":")[2], 16), fields[9]))
    return found


def _open(pid: str) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found
