"""What bodies wrote down, as tests ask for it."""

import json
from pathlib import Path
from typing import Any


class Seen:
    """The ledger in a folder, read anew with each question."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def lines(self, **wanted: Any) -> list[dict[str, Any]]:
        """The whole lines that have these values, in order of time."""
        found = []
        for path in self.folder.glob("*.jsonl"):
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    one = json.loads(line)
                    if all(one[name] == value for name, value in wanted.items()):
                        found.append(one)
        return sorted(found, key=lambda one: int(one["mono"]))

    def starts(self, run: object, step: str | None = None) -> list[dict[str, Any]]:
        """The starts of a run's bodies."""
        wanted = {"event": "start", "run": str(run)} | ({"step": step} if step else {})
        return self.lines(**wanted)
