"""The client log: what was asked for, and what the answer was, for the judge."""

import json
import os
import time
from pathlib import Path
from typing import Any


class ClientLog:
    """One file for each process, one line for each phase of an operation."""

    def __init__(self, folder: Path, pipeline: str) -> None:
        """Write into `folder`, which is made if it is not there."""
        self._pipeline = pipeline
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, phase: str, op: str, do: str, **more: Any) -> None:
        """Write down a phase: invoke, then ok, fail or unknown."""
        line = {
            "op": op,
            "do": do,
            "phase": phase,
            "pipeline": self._pipeline,
            "mono": time.monotonic_ns(),
            "wall": time.time(),
            "request": None,
            "run": None,
            "key": None,
            "force": False,
            "wants": None,
            "error": None,
            **more,
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")
