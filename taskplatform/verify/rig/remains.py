"""What is left running of a rig, and its end, also when the rig's own process was killed.

A rig's processes are told by its folder: servers work in it, workers have it in their environment.
Their parents may be dead, stopped or another rig's by pid, so nothing else is asked.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from taskplatform.verify.rig.processes import everything, send

MARK = "RIG_FOLDER"


def remains(folder: Path) -> list[int]:
    """The pids of all live processes of the rig in this folder, but not our own."""
    mark = f"{MARK}={folder}".encode()
    return [
        one.pid
        for one in everything()
        if one.pid != os.getpid() and (_works_in(one.pid, folder) or mark in _environment(one.pid))
    ]


def sweep(folder: Path, seconds: float = 10.0) -> list[int]:
    """Kill them until there is none; those that were there. Raises TimeoutError."""
    found: list[int] = []
    until = time.monotonic() + seconds
    while left := remains(folder):
        if time.monotonic() > until:
            raise TimeoutError(f"these cannot be killed: {left}")
        found += [pid for pid in left if pid not in found]
        send(left, signal.SIGKILL)
        time.sleep(0.02)
    return found


def watch(folder: Path) -> "subprocess.Popen[bytes]":
    """Start who sweeps as soon as this process is gone, or closes the watch's stdin."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(folder)
    except OSError:
        return False


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


if __name__ == "__main__":
    sys.stdin.buffer.read()
    sweep(Path(sys.argv[1]))
