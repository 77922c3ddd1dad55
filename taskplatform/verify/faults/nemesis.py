"""The nemesis: one fault after the other by a seed, up to two at a time, each written down."""

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from random import Random

import psycopg
import redis

from taskplatform.errors import TaskPlatformError
from taskplatform.verify.faults import (
    clocks,
    fullness,
    large,
    messages,
    network,
    processes,
    servers,
)
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
        large.LargeMessages,
        clocks.ShiftClock,
        fullness.ExhaustConnections,
        fullness.OnlyRead,
        fullness.FullDisk,
        fullness.FullRedis,
        DieAtPoint,
    )
}
_AT_ONCE = 2
# So often a fault that finds nobody is tried once more, behind so many others.
_TRIES = 20
_BEHIND = 3
# A server that another fault has ended comes back in less.
_PATIENCE = 120.0
_AGAIN = 0.5
_FAILURES = (TaskPlatformError, redis.RedisError, psycopg.Error, OSError)


@dataclass(frozen=True, slots=True)
class Planned:
    """The fault of one kind that is to come, and how often it found nobody."""

    kind: str
    place: int
    misses: int = 0

    def dice(self, seed: int) -> Random:
        """Its own, so that what others roll, or find, changes nothing of it."""
        return Random(f"{seed}:{self.kind}:{self.place}:{self.misses}")


@dataclass(slots=True)
class _Lasting:
    number: int
    fault: Fault
    until: float
    latest: float


class Nemesis:
    """`wanted` says how often each kind is to be done; the order and the rest is by the seed.

    With fewer than `least` faults done the judge is to say nothing.
    """

    def __init__(self, bench: Bench, seed: int, wanted: Mapping[str, int], least: int = 0) -> None:
        self.seed = seed
        self.done: Counter[str] = Counter()
        self._bench = bench
        self._schedule = [
            one for one in schedule(seed, wanted) if one.kind not in impossible(bench)
        ]
        self._lasting: list[_Lasting] = []
        self._numbers = count(1)
        path = bench.folder / "nemesis.jsonl"
        self._log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._write({"seed": seed, "least": least, "concurrency": bench.concurrency})
        for kind, why in impossible(bench).items():
            if kind in wanted:
                self._write({"fault": kind, "phase": "left-out", "detail": {"why": why}})

    def rage(self, pause: float, most: float) -> None:
        """Do all that is wanted, so many seconds apart on average; at most `most` seconds.

        What finds nobody now, since its target is down by another, is tried again later.
        """
        until = time.monotonic() + most
        left = list(self._schedule)
        try:
            while left and time.monotonic() < until:
                one = left.pop(0)
                self._end_due(at_most=_AT_ONCE - 1)
                if not self._begin(one) and one.misses < _TRIES:
                    left.insert(_BEHIND, replace(one, misses=one.misses + 1))
                self._end_due()
                time.sleep(one.dice(self.seed).uniform(0.5, 1.5) * pause)
        finally:
            self._end_due(at_most=0)
            os.close(self._log)

    def _begin(self, one: Planned) -> bool:
        fault, dice = KINDS[one.kind](), one.dice(self.seed)
        number = next(self._numbers)
        line = {"fault": one.kind, "id": number}
        seconds = fault.seconds(dice)
        began = _moment()
        now = time.monotonic()
        try:
            pids = fault.begin(self._bench, dice)
        except (NoTarget, *_FAILURES) as error:
            self._write({**line, "phase": "missed", "pids": [], "detail": {"why": str(error)}})
            if seconds and not isinstance(error, NoTarget):
                # A half of it may be done.
                self._lasting.append(_Lasting(0, fault, now, now + _PATIENCE))
            return False
        self.done[one.kind] += 1
        self._write({**line, "phase": "begin", "pids": pids, **began})
        if seconds:
            until = time.monotonic() + seconds
            self._lasting.append(_Lasting(number, fault, until, until + _PATIENCE))
        else:
            self._write({**line, "phase": "end", "pids": pids})
        return True

    def _end_due(self, at_most: int = _AT_ONCE) -> None:
        while self._lasting:
            first = min(self._lasting, key=lambda one: one.until)
            left = first.until - time.monotonic()
            if left > 0 and len(self._lasting) <= at_most:
                return
            time.sleep(max(0.0, left))
            try:
                pids = first.fault.end(self._bench)
            except _FAILURES:
                # Another one may be in its way, which has to end first.
                if time.monotonic() > first.latest:
                    raise
                first.until = time.monotonic() + _AGAIN
                continue
            self._lasting.remove(first)
            if first.number:
                line = {"fault": first.fault.kind, "phase": "end", "id": first.number, "pids": pids}
                self._write(line)

    def _write(self, line: dict[str, object]) -> None:
        os.write(self._log, json.dumps({**_moment(), "detail": {}, **line}).encode() + b"\n")


def schedule(seed: int, wanted: Mapping[str, int]) -> Sequence[Planned]:
    """What is to come, in its order, the same for the same seed."""
    planned = [
        Planned(kind, place) for kind, many in sorted(wanted.items()) for place in range(many)
    ]
    Random(seed).shuffle(planned)
    return planned


def impossible(bench: Bench) -> dict[str, str]:
    """The kinds that cannot be done on this bench, and why."""
    found = {kind: fault.impossible(bench) for kind, fault in KINDS.items()}
    return {kind: why for kind, why in found.items() if why}


def _moment() -> dict[str, object]:
    return {"mono": time.monotonic_ns(), "wall": time.time()}
