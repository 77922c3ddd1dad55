"""Concurrency limits and breakers with real workers, judged by what the bodies wrote down."""

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest
from redis import Redis

from taskplatform import enqueue_many
from taskplatform.client.session import call
from taskplatform.storage import breakers, limits
from taskplatform.storage.connection import Session
from tests.acceptance import scarce
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import Worker, wait_for, worker

Env = dict[str, str]


@pytest.fixture(autouse=True)
def pipelines(env: Env) -> None:
    env["TASKPLATFORM_PIPELINES"] = "tests.acceptance.scarce"


def value(statement: str) -> int:
    def ask(connection: Session, _: bool) -> int:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])

    return call(ask)


def kill_at_random(
    workers: list[Worker], env: Env, dice: random.Random, done: Callable[[], bool]
) -> dict[int, int]:
    """Kill children, supervisors and empty Redis; when each pid was dead for certain, in ns."""
    killed: dict[int, int] = {}
    until = time.monotonic() + 60
    while not done() and time.monotonic() < until:
        victim = dice.choice(workers)
        with suppress(ProcessLookupError, IndexError):
            match dice.choice(["child", "child", "child", "supervisor", "redis"]):
                case "child":
                    pid = dice.choice(victim.children())
                    killed[pid] = time.monotonic_ns()
                    os.kill(pid, signal.SIGKILL)
                case "supervisor":
                    os.kill(dice.choice(victim.supervisors()), signal.SIGKILL)
                case "redis":
                    with Redis.from_url(env["TASKPLATFORM_BROKER_URL"]) as redis:
                        redis.flushdb()
        time.sleep(dice.uniform(0.2, 0.8))
    return killed


def most_at_once(ledger: Ledger, killed: dict[int, int]) -> dict[str, int]:
    """The most bodies of a key that were inside at one moment."""
    ends = {(order, pid): int(at) for order, what, pid, at in ledger.lines() if what == "end:used"}
    changes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for order, what, pid, at in ledger.lines():
        if what in ("start:a", "start:b"):
            end = ends.get((order, pid), killed.get(int(pid)))
            assert end is not None, "it neither ended nor was killed"
            changes[what] += [(int(at), 1), (end, -1)]
    most: dict[str, int] = {}
    for key, moments in changes.items():
        inside = 0
        for _, change in sorted(moments):
            inside += change
            most[key] = max(most.get(key, 0), inside)
    return most


def test_never_more_than_the_limit_under_kills(
    env: Env, ledger: Ledger, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """W13, F38: by what the bodies wrote; and every run ends well in spite of it."""
    other = tmp_path / "other.log"
    other.touch()
    with worker(env, log, "-c", "4") as one, worker(env, other, "-c", "4", name="v") as two:
        runs = enqueue_many(
            scarce.few,
            [
                {"ledger": ledger.path, "id": str(n), "seconds": 0.1, "do": "ab"[n % 2]}
                for n in range(120)
            ],
        )
        killed = kill_at_random(
            [one, two],
            env,
            random.Random(7),
            lambda: len(ledger.count("end:used")) == len(runs),
        )
        for run in runs:
            assert run.wait(timeout=60).status == "succeeded"
    most = most_at_once(ledger, killed)
    with capsys.disabled():
        print(f"\n{len(runs)} runs, {len(killed)} children killed, most at once {most}", end="")
    assert len(killed) >= 3
    assert most == {"start:a": scarce.AT_ONCE, "start:b": scarce.AT_ONCE}
    assert value("SELECT count(*) FROM taskplatform.slots") == 0


def test_a_thousand_that_wait_hold_nothing(
    env: Env, ledger: Ledger, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """W13: no worker slot, no connection; others go on; the limit is changed without a deploy."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with worker(env, log, "-c", "2"):
        warm = scarce.other.enqueue({"ledger": ledger.path, "id": "warm"})
        assert warm.wait(timeout=30).status == "succeeded"
        runs = enqueue_many(
            scarce.one, [{"ledger": ledger.path, "id": str(n)} for n in range(1001)]
        )
        waiting = "SELECT count(*) FROM taskplatform.runs WHERE reason = 'concurrency'"
        wait_for(lambda: value(waiting) == 1000, 60, "all but one wait")
        held = value("SELECT count(*) FROM taskplatform.work WHERE holder IS NOT NULL")
        after = value(sessions)
        with capsys.disabled():
            print(f"\n1000 wait: {held} held, {after} sessions in all", end="")
        assert held == 1
        # Two children, their supervisor, and this process.
        assert after <= 4
        began = time.monotonic()
        more = scarce.other.enqueue({"ledger": ledger.path, "id": "more"})
        assert more.wait(timeout=10).status == "succeeded"
        assert time.monotonic() - began < 2
        Path(f"{ledger.path}.open").touch()
        call(lambda connection, _: limits.put(connection, "concurrency", "one", 100, None))
        for run in runs:
            assert run.wait(timeout=60).status == "succeeded"


def test_a_dead_api_is_the_trouble_of_its_own_steps(
    env: Env, ledger: Ledger, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """W14: others are as fast as without it, no run fails for it, and it closes by itself."""

    def rate() -> float:
        began = time.monotonic()
        runs = enqueue_many(
            scarce.other,
            [{"ledger": ledger.path, "id": str(n), "seconds": 0.02} for n in range(100)],
        )
        for run in runs:
            assert run.wait(timeout=60).status == "succeeded"
        return len(runs) / (time.monotonic() - began)

    def state() -> str:
        found = call(lambda connection, _: breakers.told(connection))
        return found[0].state if found else "closed"

    with worker(env, log, "-c", "2"):
        rate()
        alone = [rate() for _ in range(3)]
        dead = enqueue_many(
            scarce.dead, [{"ledger": ledger.path, "id": f"d{n}"} for n in range(300)]
        )
        wait_for(lambda: state() == "open", 30, "the breaker opens")
        waiting = "SELECT count(*) FROM taskplatform.work WHERE gate = 'breaker:api:'"
        wait_for(lambda: value(waiting) >= 290, 30, "what uses the API waits")
        beside = [rate() for _ in range(3)]
        asked = ledger.count("refused")
        Path(f"{ledger.path}.mended").touch()
        for run in dead:
            assert run.wait(timeout=60).status == "succeeded"
        wait_for(lambda: state() == "closed", 10, "the breaker closes")
    ratio = median(beside) / median(alone)
    with capsys.disabled():
        print(
            f"\nothers: {median(alone):.0f}/s alone, {median(beside):.0f}/s beside a dead API with "
            f"300 runs, ratio {ratio:.2f}; {asked.total()} bodies called it, {len(dead)} of "
            f"{len(dead)} runs succeeded",
            end="",
        )
    assert ratio >= 0.95
    assert asked.total() < 30
