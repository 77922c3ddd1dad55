"""A small disk of its own, in memory, that can be filled."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

_SIZE = 2 * 1024**3
_SECONDS = 10
_TRIES = 20
# Less cannot be set while somebody writes.
_SPARE = 64 * 1024


class Disk:
    """Mounted over a folder; takes memory only for what is written."""

    def __init__(self, folder: Path) -> None:
        """Mount it. Raises OSError where that is not allowed."""
        self._folder = folder
        _run("mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0755", "tmpfs", str(folder))

    def fill(self) -> bool:
        """Leave nothing free; whether that was done, since others write at the same time."""
        for _ in range(_TRIES):
            seen = os.statvfs(self._folder)
            with suppress(OSError):
                self._resize((seen.f_blocks - seen.f_bfree) * seen.f_frsize + _SPARE)
                return True
        return False

    def free(self) -> None:
        """Make room again."""
        self._resize(_SIZE)

    def close(self) -> None:
        """Unmount it; what is in it is gone."""
        _run("umount", "-l", str(self._folder))

    def _resize(self, size: int) -> None:
        _run("mount", "-o", f"remount,size={size}", str(self._folder))


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
    except subprocess.SubprocessError as error:
        raise OSError(f"{command[0]} failed: {error}") from None
