"""Mutants: the platform with one guarantee broken, each of which the judge has to find."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.mutants import doors, fences, limits, recovery

VARIABLE = "MUTANT"


@dataclass(frozen=True, slots=True)
class Mutant:
    """How the platform is broken, and under which faults and load it shows."""

    name: str
    breaks: Callable[[], None]
    faults: dict[str, int]
    pipeline: str = "five"
    many: int = 150
    rate: float = 15.0
    keyed: float = 0.05
    plain: bool = False
    work: float = 0.0
    batch: int = 1
    settle: float = 25.0


# Whoever has slept beyond the lease wakes while another is at the same run: it takes long, and a
# child is free to take over at once.
SLOW: dict[str, Any] = {"many": 20, "rate": 0.35, "plain": True, "work": 3.0}
LATE: dict[str, Any] = {"many": 16, "plain": True, "work": 1.0}
# Longer than what a child takes two of at a time, so that two children end both wings at once.
SIDE_BY_SIDE: dict[str, Any] = {
    "pipeline": "fan",
    "many": 800,
    "rate": 80.0,
    "plain": True,
    "work": 0.02,
}

LIMITS: dict[str, Any] = {"pipeline": "scarce", "many": 150, "settle": 8.0}

PAUSES = {"pause-child-beyond-lease": 6}
KILLS = {"kill-child": 8, "kill-worker": 1}
DEATHS = {"kill-child": 8, "kill-worker": 3}

MUTANTS = {
    one.name: one
    for one in (
        Mutant("no-fence", fences.no_fence, PAUSES, **SLOW),
        Mutant("check-then-write", fences.check_then_write, PAUSES, **LATE),
        Mutant("epoch-from-one", fences.epoch_from_one, PAUSES, **SLOW),
        Mutant("memo-lost", fences.memo_lost, KILLS),
        Mutant("goes-on-before-the-commit", fences.goes_on_before_the_commit, KILLS),
        Mutant("join-in-the-locking-statement", fences.unlocked_join, {}, **SIDE_BY_SIDE),
        Mutant("rescue-without-lease", recovery.without_lease, KILLS),
        Mutant("recovery-once", recovery.once, KILLS),
        Mutant(
            "never-rung-again",
            recovery.never_rung_again,
            {"kill-worker": 8, "flush-redis": 4},
            many=80,
            plain=True,
            work=0.3,
        ),
        Mutant("retention-by-age", recovery.retention_by_age, KILLS),
        Mutant("read-then-insert", doors.read_then_insert, {}, keyed=1.0, plain=True),
        Mutant("answer-before-the-commit", doors.answer_before_the_commit, {"end-sessions": 8}),
        Mutant("retry-makes-another-run", doors.retry_makes_another_run, {"cut-after-commit": 8}),
        Mutant(
            "unordered-locks",
            limits.unordered_locks,
            {},
            many=60,
            rate=30.0,
            keyed=1.0,
            plain=True,
            batch=10,
        ),
        Mutant("commits-later", limits.commits_later, {"restart-postgres": 6}, many=300),
        Mutant(
            "limit-by-the-workers-clock",
            limits.workers_clock,
            {"shift-clock": 5},
            many=400,
            rate=60.0,
            plain=True,
        ),
        Mutant(
            "gives-back-what-was-used",
            limits.gives_back_what_was_used,
            {},
            **LIMITS | {"many": 300, "rate": 40.0},
        ),
        Mutant("slots-by-time", limits.slots_by_time, {}, **LIMITS),
        # Somebody has the one slot of a step nearly all the time.
        Mutant("slots-for-ever", limits.slots_for_ever, DEATHS, **LIMITS, work=0.4),
        Mutant("members-forgotten", limits.members_forgotten, DEATHS, **LIMITS),
    )
}


def become(name: str | None = None) -> None:
    """Break this process's platform as the environment says, if it does."""
    name = os.environ.get(VARIABLE) if name is None else name
    if name:
        MUTANTS[name].breaks()
