"""The nemesis: one fault after the other by a seed, up to two at a time, each written down."""

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from random import Random

import redis

from taskplatform.errors import TaskPlatformError
from taskplatform.verify.faults import messages, network, processes, servers
from taskplatform.verify.faults.failpoints import DieAtPoint
from taskplatform.verify.faults.fault import Fault, NoTarget
from taskplatform.verify.rig.bench import Bench

KINDS: dict[str, type[Fault]] = {
    one.kind: one
    for one in (
        processes.KillChild,
        processes.KillSupervisor,
        processes.KillParent,
        processes.KillWorker,
        processes.Pause,
        processes.PauseLong,
        processes.PauseSupervisor,
        processes.PauseWorker,
        servers.RestartPostgres,
        servers.PausePostgres,
        servers.EndSessions,
        servers.FlushRedis,
        servers.RestartRedis,
        servers.PauseRedis,
        network.CutPostgres,
        network.CutRedis,
        network.HolePostgres,
        network.HoleRedis,
        network.SlowPostgres,
        network.CutAfterCommit,
        messages.JunkMessages,
        messages.DuplicateMessages,
        DieAtPoint,
    )
}
_AT_ONCE = 2


@dataclass(slots=True)
class _Lasting:
    number: int
    fault: Fault
    until: float


class Nemesis:
    """`wanted` says how often each kind is to be done; the order and the rest is by the seed."""

    def __init__(self, bench: Bench, seed: int, wanted: Mapping[str, int]) -> None:
        self.seed = seed
        self.done: Counter[str] = Counter()
        self._bench = bench
        self._dice = Random(seed)
        self._schedule = schedule(seed, wanted)
        self._lasting: list[_Lasting] = []
        self._numbers = count(1)
        path = bench.folder / "nemesis.jsonl"
        self._log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._write({"seed": seed})

    def rage(self, pause: float, most: float) -> None:
        """Do all that is wanted, so many seconds apart on average; at most `most` seconds."""
        until = time.monotonic() + most
        try:
            for kind in self._schedule:
                if time.monotonic() > until:
                    break
                self._end_due(at_most=_AT_ONCE - 1)
                self._begin(kind)
                self._end_due()
                time.sleep(self._dice.uniform(0.5, 1.5) * pause)
        finally:
            self._end_due(at_most=0)
            os.close(self._log)

    def _begin(self, kind: str) -> None:
        fault = KINDS[kind]()
        number = next(self._numbers)
        seconds = fault.seconds(self._dice)
        began = _moment()
        try:
            pids = fault.begin(self._bench, self._dice)
        except (NoTarget, TaskPlatformError, redis.RedisError):
            return
        self.done[kind] += 1
        self._write({"fault": kind, "phase": "begin", "id": number, "pids": pids, **began})
        if seconds:
            self._lasting.append(_Lasting(number, fault, time.monotonic() + seconds))
        else:
            self._write({"fault": kind, "phase": "end", "id": number, "pids": pids})

    def _end_due(self, at_most: int = _AT_ONCE) -> None:
        while self._lasting:
            first = min(self._lasting, key=lambda one: one.until)
            left = first.until - time.monotonic()
            if left > 0 and len(self._lasting) <= at_most:
                return
            time.sleep(max(0.0, left))
            self._lasting.remove(first)
            pids = first.fault.end(self._bench)
            line = {"fault": first.fault.kind, "phase": "end", "id": first.number, "pids": pids}
            self._write(line)

    def _write(self, line: dict[str, object]) -> None:
        os.write(self._log, json.dumps({**_moment(), "detail": {}, **line}).encode() + b"\n")


def schedule(seed: int, wanted: Mapping[str, int]) -> Sequence[str]:
    """The kinds in their order, the same for the same seed."""
    kinds = [kind for kind, many in sorted(wanted.items()) for _ in range(many)]
    Random(seed).shuffle(kinds)
    return kinds


def revive(bench: Bench) -> None:
    """Start the workers that are down, and wait until all are ready again."""
    for worker in bench.workers:
        if not worker.alive:
            worker.start()
    for worker in bench.workers:
        with suppress(TaskPlatformError):
            worker.wait_ready()


def _moment() -> dict[str, object]:
    return {"mono": time.monotonic_ns(), "wall": time.time()}
