"""A real worker executes runs: the plain way, failures, limits, keys, versions."""

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from kombu.connection import Connection

from taskplatform import enqueue_many
from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import ROOT, wait_for, worker

Env = dict[str, str]


def test_a_run_is_executed_step_by_step(env: Env, ledger: Ledger, log: Path) -> None:
    """Q2, Q3, Q10, Q30, C3: five facts of one run, seen from outside."""
    with worker(env, log, "-c", "2"):
        run = pipelines.three.enqueue({"ledger": ledger.path, "id": "a"}).wait(timeout=20)
    assert run.status == "succeeded"
    assert [line[1] for line in ledger.lines()] == [
        f"{what}:{step}" for step in ("first", "second", "third") for what in ("start", "end")
    ]
    view = run.view()
    assert [step.name for step in view.steps] == ["first", "second", "third"]
    assert all(len(step.attempts) == 1 for step in view.steps)


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools_execute_runs_too(env: Env, ledger: Ledger, log: Path, pool: str) -> None:
    """Many bodies at once in one process, or one after the other."""
    count = 20 if pool == "threads" else 4
    with worker(env, log, "-P", pool, "-c", "10"):
        runs = enqueue_many(
            pipelines.three,
            [
                {"ledger": ledger.path, "id": str(n), "seconds": 0.3, "do": "sleep:second"}
                for n in range(count)
            ],
        )
        for run in runs:
            assert run.wait(timeout=30).status == "succeeded"
    assert len({line[2] for line in ledger.lines()}) == 1
    for step in ("first", "second", "third"):
        assert set(ledger.count(f"start:{step}").values()) == {1}


def test_at_most_ten_at_once_and_ten_most_of_the_time(env: Env, ledger: Ledger, log: Path) -> None:
    """Q18: 20 runs of a 2 s step on a default worker."""
    with worker(env, log):
        runs = enqueue_many(
            pipelines.single,
            [{"ledger": ledger.path, "id": str(n), "seconds": 2} for n in range(20)],
        )
        for run in runs:
            run.wait(timeout=30)
    events = sorted((int(line[3]), 1 if line[1] == "start:only" else -1) for line in ledger.lines())
    levels = list(accumulate(change for _, change in events))
    assert max(levels) == 10
    # How fast children come up is the machine's affair: from when ten are at work until the last
    # one starts.
    first = levels.index(10)
    last = max(place for place, (_, change) in enumerate(events) if change == 1)
    times = [at for at, _ in events[first : last + 1]]
    spans = [then - at for at, then in pairwise(times)]
    full = sum(span for span, level in zip(spans, levels[first:last], strict=True) if level == 10)
    assert full / sum(spans) > 0.5


def test_a_soft_limit_ends_an_attempt(env: Env, ledger: Ledger, log: Path) -> None:
    """W15: over its time the attempt is ended, and says so."""
    with worker(env, log, "-c", "2"):
        run = pipelines.limited.enqueue(
            {"ledger": ledger.path, "id": "a", "seconds": 30, "do": "sleep:bounded"}
        ).wait(timeout=20)
    assert run.status == "failed"
    (attempt,) = run.view().steps[0].attempts
    assert attempt.outcome == "timed-out"
    assert attempt.error is not None
    assert "TimeLimitExceeded" in attempt.error.type


def test_a_hard_limit_ends_what_ignores_the_soft_one(env: Env, ledger: Ledger, log: Path) -> None:
    """W15: a body that swallows the soft limit is killed, and its worker goes on."""
    with worker(env, log, "-c", "2"):
        run = pipelines.limited.enqueue(
            {"ledger": ledger.path, "id": "a", "seconds": 60, "do": "ignore-limit:bounded"}
        ).wait(timeout=20)
        assert run.status == "failed"
        assert run.view().steps[0].attempts[0].outcome == "timed-out"
        other = pipelines.three.enqueue({"ledger": ledger.path, "id": "b"}).wait(timeout=20)
        assert other.status == "succeeded"


def test_a_throttle_holds_in_every_window(env: Env, ledger: Ledger, log: Path) -> None:
    """Q8, G8: never more than five starts in any two seconds."""
    with worker(env, log, "-c", "4"):
        runs = enqueue_many(
            pipelines.slowed, [{"ledger": ledger.path, "id": str(n)} for n in range(12)]
        )
        for run in runs:
            run.wait(timeout=40)
    starts = sorted(int(line[3]) for line in ledger.lines() if line[1] == "start:call")
    assert len(starts) == 12
    assert all(later - at >= 2e9 for at, later in zip(starts, starts[5:], strict=False))


def test_a_step_with_its_own_queue_waits_for_a_worker_of_it(
    env: Env, ledger: Ledger, log: Path, tmp_path: Path
) -> None:
    """A run goes on elsewhere when its next step has a queue of its own."""
    with worker(env, log, "-c", "2"):
        run = pipelines.elsewhere.enqueue({"ledger": ledger.path, "id": "a"})
        wait_for(lambda: ledger.has("end:here"), 20, "the first step ended")
        wait_for(lambda: run.refresh().status == "queued", 5, "the run is queued")
        other = tmp_path / "other.log"
        other.touch()
        with worker(env, other, "-c", "2", "-Q", "other", name="other"):
            run.wait(timeout=20)
    assert ledger.count("start:here") == {"a": 1}
    assert ledger.count("start:there") == {"a": 1}


def test_one_key_fifty_threads(env: Env, ledger: Ledger, log: Path) -> None:
    """Q14: one run, and everybody gets its id; force makes another."""
    order = {"ledger": ledger.path, "id": "a"}
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(pipelines.single.enqueue(order).id))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 50
    assert len(set(found)) == 1
    with worker(env, log, "-c", "2"):
        run = pipelines.single.enqueue(order).wait(timeout=20)
        assert run.id == found[0]
        forced = pipelines.single.enqueue(order, force=True).wait(timeout=20)
    assert forced.id != run.id
    assert ledger.count("start:only") == {"a": 2}


def test_a_delayed_run_starts_when_it_is_due(env: Env, ledger: Ledger, log: Path) -> None:
    """Q11, G6: never early, and within a second."""
    with worker(env, log, "-c", "2"):
        run = pipelines.three.enqueue({"ledger": ledger.path, "id": "a"}, delay="2s")
        assert run.status == "scheduled"
        run.wait(timeout=20)
    view = run.view()
    assert view.started_at is not None
    waited = view.started_at - view.created_at
    assert timedelta(seconds=2) <= waited < timedelta(seconds=3)


def test_plain_tasks_do_not_wait_for_a_backlog(env: Env, ledger: Ledger, log: Path) -> None:
    """The user's own Celery tasks are executed while runs are waiting and shifts are long."""
    backlog = [
        {"ledger": ledger.path, "id": str(n), "seconds": 0.3, "do": "sleep:second"}
        for n in range(100)
    ]
    with worker({**env, "TASKPLATFORM_SHIFT_SECONDS": "60"}, log, "-c", "2"):
        enqueue_many(pipelines.three, backlog)
        wait_for(lambda: len(ledger.lines()) > 10, 20, "the backlog is being executed")
        with Connection(env["TASKPLATFORM_BROKER_URL"]) as connection:  # type: ignore[no-untyped-call]
            pipelines.plain.apply_async(
                [str(ledger.path)], connection=connection, queue="taskplatform"
            )
        wait_for(lambda: ledger.has("start:plain"), 3, "the plain task was executed")
        assert len(ledger.count("end:third")) < 100


LEAVE_UNRUNG = """
import os, sys
from taskplatform.client import ringer
ringer.RINGER.ring = lambda *_: os.kill(os.getpid(), 9)
from tests.acceptance.ledger import three
three.enqueue({"ledger": sys.argv[1], "id": "a"})
"""


def test_a_client_killed_between_commit_and_publish(env: Env, ledger: Ledger, log: Path) -> None:
    """Q1: work that nobody rang for is found and executed."""
    with worker(env, log, "-c", "2"):
        killed = subprocess.run(
            [sys.executable, "-c", LEAVE_UNRUNG, ledger.path],
            env={**os.environ, **env},
            cwd=ROOT,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        wait_for(lambda: ledger.has("end:third", "a"), 10, "the run was executed")
    assert ledger.count("start:third") == {"a": 1}
