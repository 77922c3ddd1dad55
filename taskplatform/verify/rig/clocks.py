"""The wall clocks of workers, which somebody may set."""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

_HOOK = Path(__file__).parent / "shifted"
VARIABLE = "VERIFY_CLOCK"


class WallClock:
    """How far a worker's wall clock is off; its processes see a change at once."""

    def __init__(self, path: Path) -> None:
        """Not off; the file is made."""
        self._path = path
        path.write_bytes(struct.pack("d", 0.0))

    def env(self, others: Mapping[str, str]) -> dict[str, str]:
        """What its processes need in their environment, so that they go by it."""
        paths = [str(_HOOK), *filter(None, [others.get("PYTHONPATH", "")])]
        return {VARIABLE: str(self._path), "PYTHONPATH": os.pathsep.join(paths)}

    def set(self, seconds: float) -> None:
        """Set it off by so many seconds."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("d", seconds))
