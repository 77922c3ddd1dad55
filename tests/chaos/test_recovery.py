"""How long it takes until work goes on: a worker killed, Redis emptied, Postgres crashed.

Servers of its own, two workers; judged by what bodies write down and by the servers' clocks.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis

from taskplatform import enqueue_many
from taskplatform.embedded import endpoints, status
from taskplatform.storage.connection import close_pools
from taskplatform.storage.migrations import upgrade
from tests.acceptance.conftest import forget
from tests.acceptance.processes import Worker, wait_for, worker
from tests.chaos.five import Order, five
from tests.chaos.percentile import percentile
from tests.chaos.seen import Seen

COMMITTED = "SELECT extract(epoch FROM max(finished_at)) FROM taskplatform.step_results"
OPEN = "SELECT count(*) FROM taskplatform.runs WHERE finished_at IS NULL"


@pytest.fixture
def own(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Servers that nobody else uses, and the environment of their users."""
    found = endpoints(own_home)
    upgrade(found.database_url)
    values = {
        "TASKPLATFORM_DATABASE_URL": found.database_url,
        "TASKPLATFORM_BROKER_URL": found.broker_url,
        "TASKPLATFORM_PIPELINES": "tests.chaos.five",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    forget()
    yield values
    close_pools()
    forget()


@pytest.mark.timeout(150)
def test_whole_workers_are_killed(own: dict[str, str], seen: Seen, tmp_path: Path) -> None:
    """G5, W10: what a killed worker had in hand goes on within 20 s, p99."""
    recoveries: list[float] = []
    with ExitStack() as stack:
        workers = [_start(stack, own, tmp_path, number) for number in range(2)]
        for round in range(3):
            orders = [_order(seen, 100 * round + one, {"clean": (3.0, "")}) for one in range(8)]
            runs = enqueue_many(five, orders)
            ids = {str(run.id) for run in runs}
            victim = workers[round % 2]
            wait_for(partial(_has_most, seen, ids, victim), 20, "its children are in bodies")
            theirs = _in_hand_of(seen, ids, victim)
            victim.kill_all()
            at = time.monotonic_ns()
            for run in runs:
                run.wait(timeout=40)
            recoveries += [_next_start(seen, line, at) for line in theirs]
            workers[round % 2] = _start(stack, own, tmp_path, 10 + round)
    p50, p99 = percentile(recoveries, 50), percentile(recoveries, 99)
    print(f"{len(recoveries)} bodies of killed workers; p50 {p50:.1f} s, p99 {p99:.1f} s")
    assert len(recoveries) >= 6
    assert p99 < 20


@pytest.mark.timeout(120)
def test_redis_is_emptied(own: dict[str, str], seen: Seen, tmp_path: Path) -> None:
    """G5, L5: all that is ready is taken up within 10 s of the loss of all Redis content."""
    longest: list[float] = []
    with ExitStack() as stack:
        _start(stack, own, tmp_path, 0)
        with Redis.from_url(own["TASKPLATFORM_BROKER_URL"]) as redis:
            for round in range(5):
                orders = [_order(seen, 1000 * round + one, {}) for one in range(60)]
                runs = enqueue_many(five, orders)
                redis.flushall()
                at = time.monotonic_ns()
                for run in runs:
                    run.wait(timeout=60)
                first = {str(run.id): seen.starts(run.id, "collect")[0]["mono"] for run in runs}
                longest.append((max(first.values()) - at) / 1e9)
    print(f"Redis emptied 5 times under 60 runs: the last one started after {max(longest):.1f} s")
    assert max(longest) < 10


@pytest.mark.timeout(150)
def test_postgres_crashes(own: dict[str, str], own_home: Path, seen: Seen, tmp_path: Path) -> None:
    """G1, G5: the first commit is there within 5 s of its being ready; nothing accepted is lost."""
    found: list[float] = []
    accepted: list[Any] = []
    with ExitStack() as stack:
        _start(stack, own, tmp_path, 0)
        load = stack.enter_context(_Load(seen, accepted))
        for _ in range(5):
            wait_for(partial(_more_than, accepted, len(accepted) + 10), 30, "runs come in")
            pid = status(own_home).pids["database"]  # type: ignore[union-attr]
            os.kill(pid, signal.SIGQUIT)
            ready = _ready_again(own, pid)
            found.append(_first_commit(own, ready) - ready)
        load.stop()
        with psycopg.connect(own["TASKPLATFORM_DATABASE_URL"], autocommit=True) as database:
            wait_for(lambda: database.execute(OPEN).fetchone() == (0,), 60, "all runs have ended")
            stored = {row[0] for row in database.execute("SELECT id FROM taskplatform.runs")}
    lost = [run for run in accepted if run not in stored]
    print(
        f"Postgres crashed {len(found)} times: {len(accepted)} runs accepted, {len(lost)} lost; "
        f"first commit after {max(found):.2f} s at most"
    )
    assert lost == []
    assert max(found) < 5


def _start(stack: ExitStack, own: dict[str, str], folder: Path, number: int) -> Worker:
    log = folder / f"worker{number}.log"
    log.touch()
    return stack.enter_context(worker(own, log, "-c", "4", name=f"w{number}"))


def _order(seen: Seen, number: int, plan: dict[str, tuple[float, str]]) -> Order:
    return Order(folder=str(seen.folder), number=number, plan=plan)


def _more_than(accepted: list[Any], many: int) -> bool:
    return len(accepted) > many


def _has_most(seen: Seen, runs: set[str], worker: Worker) -> bool:
    return len(_in_hand_of(seen, runs, worker)) >= 3


def _in_hand_of(seen: Seen, runs: set[str], worker: Worker) -> list[dict[str, Any]]:
    children = worker.children()
    return [line for line in _in_hand(seen, runs) if line["pid"] in children]


def _in_hand(seen: Seen, runs: set[str]) -> list[dict[str, Any]]:
    ended = {line["run"] for line in seen.lines(event="end", step="clean")}
    started = seen.lines(event="start", step="clean")
    return [line for line in started if line["run"] in runs and line["run"] not in ended]


def _next_start(seen: Seen, line: dict[str, Any], at: int) -> float:
    starts = [one["mono"] for one in seen.starts(line["run"]) if one["mono"] > at]
    return float(min(starts) - at) / 1e9


def _ready_again(own: dict[str, str], old: int) -> float:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(own["TASKPLATFORM_DATABASE_URL"], connect_timeout=1),
        ):
            return time.time()
        time.sleep(0.005)
    raise AssertionError(f"Postgres did not come back after {old} was killed")


def _first_commit(own: dict[str, str], since: float) -> float:
    with psycopg.connect(own["TASKPLATFORM_DATABASE_URL"], autocommit=True) as database:
        last = 0.0

        def committed() -> bool:
            nonlocal last
            row = database.execute(COMMITTED).fetchone()
            last = float(row[0] or 0) if row else 0.0
            return last > since

        wait_for(committed, 30, "a commit after the crash")
    return last


class _Load:
    """Enqueues until it is told to stop; what was answered is accepted."""

    def __init__(self, seen: Seen, accepted: list[Any]) -> None:
        self._seen = seen
        self._accepted = accepted
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "_Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop; what is on its way is waited for."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        number = 0
        while not self._stop.wait(0.02):
            number += 1
            with suppress(ConnectionError):
                self._accepted.append(five.enqueue(_order(self._seen, number, {})).id)
