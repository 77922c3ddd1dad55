"""Keeping workers up, as a service manager does."""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from taskplatform.verify.rig.workers import Worker

_EVERY = 0.2
# One that ends as soon as it is started is started no more often.
_APART = 1.0


@contextmanager
def kept_up(workers: Sequence[Worker], folder: Path) -> Iterator[None]:
    """Start those again that have ended by themselves, and write down when, in restarts.jsonl.

    One that a fault keeps down stays down.
    """
    over = threading.Event()
    thread = threading.Thread(target=_keep, args=(workers, folder, over), name="kept up")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _keep(workers: Sequence[Worker], folder: Path, over: threading.Event) -> None:
    file = os.open(folder / "restarts.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    last: dict[str, float] = {}
    while not over.wait(_EVERY):
        for one in workers:
            if time.monotonic() - last.get(one.name, 0.0) < _APART:
                continue
            code = one.start_if_ended()
            if code is not None:
                last[one.name] = time.monotonic()
                line = {"worker": one.name, "code": code, "mono": time.monotonic_ns()}
                os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)
