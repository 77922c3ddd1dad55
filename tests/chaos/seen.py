"""What bodies wrote down, as tests ask for it."""

import json
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Seen:
    """The ledger in a folder; each question reads what is new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._lines: list[Line] = []
        self._read: dict[Path, int] = {}

    def lines(self, **wanted: Any) -> list[Line]:
        """The whole lines that have these values, in order of time."""
        self._read_on()
        found = [
            one for one in self._lines if all(one[name] == value for name, value in wanted.items())
        ]
        return sorted(found, key=lambda one: int(one["mono"]))

    def starts(self, run: object, step: str | None = None) -> list[Line]:
        """The starts of a run's bodies."""
        wanted = {"event": "start", "run": str(run)} | ({"step": step} if step else {})
        return self.lines(**wanted)

    def _read_on(self) -> None:
        for path in self.folder.glob("*.jsonl"):
            offset = self._read.get(path, 0)
            if path.stat().st_size == offset:
                continue
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read()
            # A torn line is read when it is whole.
            whole = content[: content.rfind(b"\n") + 1]
            self._lines += [json.loads(line) for line in whole.splitlines()]
            self._read[path] = offset + len(whole)
