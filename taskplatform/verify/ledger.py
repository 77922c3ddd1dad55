"""The ledger: what bodies write down about themselves, line by line, for the judge."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Protocol
from uuid import UUID

from taskplatform.verify.judge.fingerprint import fingerprint


class Attempt(Protocol):
    """What a body knows of itself: the context it is given."""

    run_id: UUID
    step: str
    attempt: int
    epoch: int

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt."""


class Ledger:
    """One file for each process, each line one system call: a killed process tears no other's."""

    def __init__(self, folder: str | Path) -> None:
        """Write into `folder`, which is made if it is not there."""
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._owner = 0
        self._file = -1

    def start(self, ctx: Attempt, pipeline: str) -> None:
        """The body has started."""
        self._write("start", ctx, pipeline)

    def effect(self, ctx: Attempt, pipeline: str) -> None:
        """The body has done what others can see."""
        self._write("effect", ctx, pipeline, key=ctx.idempotency_key)

    def end(self, ctx: Attempt, pipeline: str, value: object) -> None:
        """The body is about to return `value`, a plain JSON value."""
        self._write("end", ctx, pipeline, value=fingerprint(value))

    def _write(self, event: str, ctx: Attempt, pipeline: str, **more: str) -> None:
        line = {
            "event": event,
            "run": str(ctx.run_id),
            "pipeline": pipeline,
            "step": ctx.step,
            "attempt": ctx.attempt,
            "epoch": ctx.epoch,
            "pid": os.getpid(),
            "mono": time.monotonic_ns(),
            "wall": time.time(),
            **more,
        }
        os.write(self._own_file(), json.dumps(line).encode() + b"\n")

    def _own_file(self) -> int:
        if self._owner != os.getpid():
            with self._lock:
                if self._owner != os.getpid():
                    # A forked child has the parent's file, and a lock that nobody holds there.
                    path = self._folder / f"{os.getpid()}.jsonl"
                    self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                    self._owner = os.getpid()
        return self._file
