"""Findings: what was noticed about steps, once each."""

import json
import os
import threading
from collections import defaultdict
from pathlib import Path


class Findings:
    """Writes them down, one file for each process."""

    def __init__(self, folder: Path) -> None:
        """Write into `folder`, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._known: set[tuple[int, str, str, str]] = set()
        self._lock = threading.Lock()

    def note(self, step: str, kind: str, what: str) -> None:
        """Note it, if this process has not before."""
        key = os.getpid(), step, kind, what
        with self._lock:
            if key in self._known:
                return
            self._known.add(key)
            line = json.dumps({"step": step, "kind": kind, "what": what}).encode() + b"\n"
            path = self._folder / f"{os.getpid()}.jsonl"
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, line)
            finally:
                os.close(file)


def found(folder: Path) -> dict[str, dict[str, list[str]]]:
    """What was noticed, by step and kind."""
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in folder.glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            one = json.loads(line)
            seen[one["step"]][one["kind"]].add(one["what"])
    return {
        step: {kind: sorted(several) for kind, several in kinds.items()}
        for step, kinds in sorted(seen.items())
    }
