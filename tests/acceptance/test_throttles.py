"""Limits as the outside API sees them, with real workers."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from redis import Redis

from taskplatform import enqueue_many
from taskplatform.client.session import call
from taskplatform.storage import gates, throttle_views
from taskplatform.storage.connection import connect
from taskplatform.storage.workers import live
from tests.acceptance import limited
from tests.acceptance.called import called
from tests.acceptance.conftest import minute_folder
from tests.acceptance.nemesis import CUT
from tests.acceptance.processes import Worker, wait_for, worker
from tests.chaos.outside import outside

Env = dict[str, str]
SHORT = {"ten": (10, limited.SHORT), "hundred": (100, limited.LONGER)}


@contextmanager
def supervised(env: Env, log: Path, *options: str) -> Iterator[Worker]:
    """A worker whose supervisor has come up, too."""
    with worker(env, log, *options) as started:
        wait_for(lambda: bool(call(lambda session, _: live(session))), 60, "supervised")
        yield started


@pytest.fixture(autouse=True)
def pipelines(env: Env) -> None:
    env["TASKPLATFORM_PIPELINES"] = "tests.acceptance.limited"


def test_many_runs_at_once_keep_the_limit_and_use_it(
    env: Env, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q8, Q22, G8: 30 runs at 10 and 300 at 100 in a window, side by side."""
    with outside(tmp_path) as api, supervised(env, log, "-c", "4"):
        runs = enqueue_many(limited.ten, [{"api": api}] * 30)
        runs += enqueue_many(limited.hundred, [{"api": api}] * 300)
        for run in runs:
            assert run.wait(timeout=90).status == "succeeded"
    for seen in called(tmp_path, SHORT).values():
        with capsys.disabled():
            print(f"\n{seen}", end="")
        assert seen.over == 0
        assert seen.utilisation >= 0.95


@pytest.mark.timeout(170)
def test_the_limit_is_kept_through_kills_flushes_and_restarts(
    env: Env, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q22, F38, G8: a restart in between causes no burst, and nothing is lost."""
    other = tmp_path / "other.log"
    other.touch()
    with outside(tmp_path) as api:
        with supervised(env, log, "-c", "3") as first:
            runs = enqueue_many(limited.ten, [{"api": api}] * 30)
            wait_for(lambda: (tmp_path / "calls.jsonl").stat().st_size > 0, 20, "a call")
            os.kill(first.children()[0], signal.SIGKILL)
            empty(env)
            time.sleep(2.0)
            first.kill_all()
        empty(env)
        with supervised(env, other, "-c", "3") as second:
            for fault in (cut, empty, lambda _: os.kill(second.supervisors()[0], signal.SIGKILL)):
                fault(env)
                time.sleep(1.5)
            os.kill(second.children()[0], signal.SIGKILL)
            for run in runs:
                assert run.wait(timeout=90).status == "succeeded"
    (seen,) = called(tmp_path, {"ten": SHORT["ten"]}).values()
    with capsys.disabled():
        print(f"\nwith kills, flushes and restarts: {seen}", end="")
    assert seen.over == 0
    assert len(seen.times) >= 30


def test_a_thousand_who_wait_hold_nothing(
    env: Env, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q22, W13: no worker slot and no connection, and the database is left alone."""
    with outside(tmp_path) as api, supervised(env, log, "-c", "2"):
        idle = transactions(env)
        enqueue_many(limited.few, [{"api": api}] * 1010)
        with closing(connect(env["TASKPLATFORM_DATABASE_URL"], pinned=False)) as session:
            line = limited.few.steps[0].throttles[0].name
            gate = gates.gate_of("throttle", line)
            wait_for(lambda: gates.waiting(session, [gate])[gate] == 1000, 90, "all wait")
            (told,) = throttle_views.listed(session, line)
        assert (told.used, told.waiting, told.paused_until) == (10, 1000, None)
        wait_for(lambda: facts(env)[0] == 0, 20, "nobody holds anything")
        held, connections, _ = facts(env)
        # Of two children and the supervisor; nobody else has one.
        assert held == 0
        assert connections <= 3
        # What sessions did is told to the statistics seconds later.
        quiet = min(transactions(env) for _ in range(4))
        # What has no limit is executed at once.
        asked = time.monotonic()
        limited.unlimited.enqueue({"api": api}).wait(timeout=10)
        took = time.monotonic() - asked
    with capsys.disabled():
        print(
            f"\n1,000 waiting runs: {held} held, {connections} connections in all, "
            f"{quiet:.1f} transactions/s (idle: {idle:.1f}), another run took {took * 1000:.0f} ms",
            end="",
        )
    # Looking at the lines once a second, and what this test asks.
    assert quiet < idle + 15
    assert took < 3


@pytest.mark.timeout(400)
def test_thirty_runs_in_a_real_minute(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q22 literally: 30 runs at 10 a minute, 300 at 100; the scenario of real_minute."""
    folder = minute_folder(pytestconfig)
    report = folder / "report.json"
    wait_for(report.exists, 380, f"the minutes pass: {(folder / 'errors').read_text()[-2000:]}")
    told = json.loads(report.read_text())
    shutil.rmtree(folder)
    assert set(told["ended"]) == {"succeeded"}
    for seen in told["limits"].values():
        with capsys.disabled():
            print(f"\n{seen['text']}", end="")
        assert seen["over"] == 0
        assert seen["utilisation"] >= 0.95


def empty(env: Env) -> None:
    with Redis.from_url(env["TASKPLATFORM_BROKER_URL"]) as client:
        client.flushdb()


def cut(env: Env) -> None:
    with closing(connect(env["TASKPLATFORM_DATABASE_URL"], pinned=False, name="cut")) as session:
        session.execute(CUT)


def transactions(env: Env) -> float:
    """In a second, of three in which nothing is to be done."""
    before, began = facts(env)[2], time.monotonic()
    time.sleep(3.0)
    return (facts(env)[2] - before) / (time.monotonic() - began)


def facts(env: Env) -> tuple[int, int, int]:
    """Work that is held, sessions of the worker, transactions so far."""
    with closing(connect(env["TASKPLATFORM_DATABASE_URL"], pinned=False, name="test")) as session:
        row = session.execute(
            "SELECT (SELECT count(*) FROM taskplatform.work WHERE holder IS NOT NULL),"
            " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            "  AND application_name LIKE 'taskplatform%' AND application_name NOT LIKE '%client'),"
            " (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())"
        ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]
