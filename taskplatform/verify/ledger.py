"""The ledger: what bodies write down of themselves, for a judge who trusts nobody else."""

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

from taskplatform.verify.judge.fingerprint import fingerprint

# POSIX promises no more than this in one piece, to a file or a pipe.
_LONGEST = 4096


class Executing(Protocol):
    """What the ledger reads of a body's context."""

    run_id: UUID
    step: str
    attempt: int
    epoch: int

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt of this step of this run."""


class Ledger:
    """Appends to a file of this process in `folder`; threads and forks may share it.

    A line is one write of less than 4 KB to a file opened for appending, so a kill leaves whole
    lines. It survives every death but the machine's: nothing is synced.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Keep where to write; the file is made by the first line."""
        self._folder = Path(folder)
        self._opening = threading.Lock()
        self._file: tuple[int, int] | None = None
        self._worker = 0
        os.register_at_fork(after_in_child=self._forked)

    def start(self, ctx: Executing, pipeline: str, under: Mapping[str, int] | None = None) -> None:
        """Write that the body starts: the first thing it does. Raises OSError.

        `under` says of which limits of how many at a time it is one, by name. An epoch of 0 is
        that of a member of a batch, whose own is known to nobody in the body.
        """
        self._write("start", ctx, pipeline, **({"under": dict(under)} if under else {}))

    def effect(self, ctx: Executing, pipeline: str) -> None:
        """Write that the side effect was made, under the idempotency key. Raises OSError."""
        self._write("effect", ctx, pipeline, key=ctx.idempotency_key)

    def end(self, ctx: Executing, pipeline: str, value: object) -> None:
        """Write what the body returns, plain JSON: the last thing it does. Raises OSError."""
        self._write("end", ctx, pipeline, value=fingerprint(value))

    def _write(self, event: str, ctx: Executing, pipeline: str, **more: Any) -> None:
        file = self._opened()
        line = {
            "event": event,
            "run": str(ctx.run_id),
            "pipeline": pipeline,
            "step": ctx.step,
            "attempt": ctx.attempt,
            "epoch": ctx.epoch,
            "pid": os.getpid(),
            "worker": self._worker,
            "mono": time.monotonic_ns(),
            "wall": time.time(),
            **more,
        }
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if len(text) >= _LONGEST:
            raise ValueError(f"a line of the ledger has {len(text)} bytes, at most {_LONGEST - 1}")
        if os.write(file, text) != len(text):
            # What is torn has to stay the last line of its file.
            self._file = None
            raise OSError("the disk of the ledger is full")

    def _opened(self) -> int:
        with self._opening:
            if self._file is None or self._file[0] != os.getpid():
                self._folder.mkdir(parents=True, exist_ok=True)
                name = self._folder / f"{os.getpid()}-{uuid4().hex[:8]}.jsonl"
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._file = (os.getpid(), os.open(name, flags, 0o644))
                # Whose child this is, also when that one has died since.
                self._worker = os.getppid()
            return self._file[1]

    def _forked(self) -> None:
        # Another thread may have held it when the process forked.
        self._opening = threading.Lock()
