"""Processes are killed in the middle of runs; other processes take the runs up."""

import os
import signal
import time
from pathlib import Path

import pytest
from redis import Redis

from taskplatform import enqueue_many, get_run
from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import wait_for, worker

Env = dict[str, str]


def test_a_pool_child_is_killed_in_a_step(env: Env, ledger: Ledger, log: Path) -> None:
    """G5, Q23, W10: resumed within 5 s; the finished step is not repeated."""
    with worker(env, log, "-c", "2"):
        run = pipelines.three.enqueue(
            {"ledger": ledger.path, "id": "a", "seconds": 1, "do": "die:second"}
        )
        wait_for(lambda: ledger.has("start:second"), 20, "the second step started")
        died = time.monotonic()
        wait_for(lambda: ledger.count("start:second")["a"] == 2, 10, "it was resumed")
        assert time.monotonic() - died < 5
        run.wait(timeout=20)
    assert run.status == "succeeded"
    assert ledger.count("start:first") == {"a": 1}
    assert ledger.count("end:third") == {"a": 1}
    outcomes = [attempt.outcome for attempt in run.view().steps[1].attempts]
    assert outcomes == ["crashed", "succeeded"]


def test_a_whole_worker_is_killed_in_a_step(
    env: Env, ledger: Ledger, log: Path, tmp_path: Path
) -> None:
    """G5, W10: another worker resumes within 20 s; finished steps are not repeated."""
    second_log = tmp_path / "second.log"
    with worker(env, log, "-c", "2", name="first") as doomed:
        run = pipelines.three.enqueue({"ledger": ledger.path, "id": "a", "do": "hang:second"})
        wait_for(lambda: ledger.has("start:second"), 20, "the second step started")
        second_log.touch()
        with worker(env, second_log, "-c", "2", name="second"):
            died = time.monotonic()
            doomed.kill_all()
            wait_for(lambda: ledger.count("start:second")["a"] == 2, 25, "it was resumed")
            assert time.monotonic() - died < 20
            run.wait(timeout=20)
    assert run.status == "succeeded"
    assert ledger.count("start:first") == {"a": 1}


def test_a_main_process_is_killed_alone(
    env: Env, ledger: Ledger, log: Path, tmp_path: Path
) -> None:
    """G5: the supervisor outlives it for long enough to give its work back at once."""
    second_log = tmp_path / "second.log"
    second_log.touch()
    with (
        worker(env, log, "-c", "2", name="first") as doomed,
        worker(env, second_log, "-c", "2", "-Q", "none", name="second"),
    ):
        run = pipelines.three.enqueue(
            {"ledger": ledger.path, "id": "a", "seconds": 3, "do": "sleep:second"}
        )
        wait_for(lambda: ledger.has("start:second"), 20, "the second step started")
        os.kill(doomed.pid, signal.SIGKILL)
        wait_for(lambda: run.refresh().status == "queued", 5, "its work was given back")


def test_a_supervisor_is_killed(env: Env, ledger: Ledger, log: Path) -> None:
    """G5: its worker starts another one, and work goes on meanwhile."""
    with worker(env, log, "-c", "2") as one:
        (before,) = one.supervisors()
        os.kill(before, signal.SIGKILL)
        run = pipelines.three.enqueue({"ledger": ledger.path, "id": "a"}).wait(timeout=20)
        assert run.status == "succeeded"
        wait_for(lambda: one.supervisors() not in ([], [before]), 10, "there is another one")


def test_a_step_that_always_crashes_is_parked(env: Env, ledger: Ledger, log: Path) -> None:
    """Three crashes alone: a person has to look; its neighbours are done meanwhile."""
    with worker(env, log, "-c", "2"):
        poison = pipelines.three.enqueue(
            {"ledger": ledger.path, "id": "poison", "do": "always-die:second"}
        )
        others = enqueue_many(
            pipelines.three, [{"ledger": ledger.path, "id": str(n)} for n in range(50)]
        )
        wait_for(lambda: poison.refresh().reason == "parked", 40, "the poison is parked")
        for run in others:
            assert run.wait(timeout=20).status == "succeeded"
    assert ledger.count("start:second")["poison"] == 3
    assert all(
        attempt.outcome == "succeeded"
        for run in others
        for step in run.view().steps
        for attempt in step.attempts
    )


def test_a_child_is_killed_with_a_batch_in_hand(env: Env, ledger: Ledger, log: Path) -> None:
    """Of 50 claimed runs only the one whose body ran is charged; all finish."""
    with worker(env, log, "-c", "1"):
        warm = enqueue_many(
            pipelines.three, [{"ledger": ledger.path, "id": f"w{n}"} for n in range(200)]
        )
        for run in warm:
            run.wait(timeout=30)
        runs = enqueue_many(
            pipelines.three,
            [
                {"ledger": ledger.path, "id": str(n), "do": "die:second" if n == 25 else ""}
                for n in range(50)
            ],
        )
        for run in runs:
            assert run.wait(timeout=30).status == "succeeded"
    for step in ("first", "third"):
        assert max(ledger.count(f"start:{step}").values()) <= 2
    twice = [order for order, times in ledger.count("start:second").items() if times > 1]
    assert "25" in twice
    charged = [
        attempt
        for run in runs
        for step in run.view().steps
        for attempt in step.attempts
        if attempt.outcome != "succeeded"
    ]
    assert [attempt.outcome for attempt in charged] == ["crashed"]


@pytest.mark.parametrize("do", ["", "sleep:second"])
def test_redis_loses_everything(env: Env, ledger: Ledger, log: Path, do: str) -> None:
    """Q1: with 500 runs queued, all finish, none twice."""
    count = 500 if not do else 60
    with worker(env, log, "-c", "4"):
        runs = enqueue_many(
            pipelines.three,
            [{"ledger": ledger.path, "id": str(n), "seconds": 0.1, "do": do} for n in range(count)],
        )
        with Redis.from_url(env["TASKPLATFORM_BROKER_URL"]) as redis:
            redis.flushdb()
        wait_for(lambda: len(ledger.count("end:third")) == count, 60, "all finished")
        for run in runs:
            assert get_run(run.id).wait(timeout=10).status == "succeeded"
    for step in ("first", "second", "third"):
        assert set(ledger.count(f"start:{step}").values()) == {1}
