"""Which process has which end of a connection, as the kernel knows it."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_LOCAL, _INODE = 1, 9


def owners(ports: Collection[int]) -> dict[int, set[int]]:
    """The processes whose connections have these local ports, by port; forks may share one."""
    sockets = _sockets(ports)
    found: dict[int, set[int]] = {port: set() for port in sockets.values()}
    if found:
        for pid, link in _open_files():
            if link in sockets:
                found[sockets[link]].add(pid)
    return found


def _sockets(ports: Collection[int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        port = int(fields[_LOCAL].rpartition(":")[2], 16)
        if port in ports:
            found[f"socket:[{fields[_INODE]}]"] = port
    return found


def _open_files() -> Iterator[tuple[int, str]]:
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        # It may end while it is looked at, or belong to somebody else.
        with suppress(OSError):
            for file in (process / "fd").iterdir():
                with suppress(OSError):
                    yield int(process.name), os.readlink(file)
