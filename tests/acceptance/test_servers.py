"""On embedded servers with nothing configured, and on the system's own servers."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from taskplatform import enqueue_many
from taskplatform.embedded import endpoints as embedded
from tests.acceptance import ledger as pipelines
from tests.acceptance import system_servers
from tests.acceptance.conftest import Ledger, forget
from tests.acceptance.processes import BIN, ROOT, wait_for, worker

STEPS = ["initialize", "process", "simulate-delay", "simulate-api-call", "finalize"]
DEMO = ["enqueue", "demo", "--input", '{"task_id": "t1"}', "--wait", "-o", "json"]


def _command(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TASKPLATFORM_")}
    return subprocess.run(
        [BIN / "taskplatform", *arguments],
        env={**clean, **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _five_steps_once(answer: "subprocess.CompletedProcess[str]") -> None:
    assert answer.returncode == 0, answer
    run = json.loads(answer.stdout)
    assert run["status"] == "succeeded"
    assert [step["name"] for step in run["steps"]] == STEPS
    assert [len(step["attempts"]) for step in run["steps"]] == [1] * 5


def test_nothing_is_configured(own_home: Path, log: Path) -> None:
    """C5: a worker in one shell, an enqueue in another, and no server of anybody's."""
    env = {"TASKPLATFORM_HOME": str(own_home)}
    with worker(env, log):
        _five_steps_once(_command(env, *DEMO))
        again = _command(env, *DEMO)
        forced = _command(env, *DEMO, "--force")
        first, second, third = (
            json.loads(answer.stdout)["id"] for answer in (_command(env, *DEMO), again, forced)
        )
    assert first == second != third


def test_the_systems_servers(log: Path) -> None:
    """W22: two URLs, and nothing else changes."""
    with system_servers.postgres() as database, system_servers.redis() as broker:
        env = {"TASKPLATFORM_DATABASE_URL": database, "TASKPLATFORM_BROKER_URL": broker}
        before = _command(env, *DEMO)
        assert before.returncode == 69
        assert "taskplatform db upgrade" in before.stderr
        assert _command(env, "db", "upgrade").returncode == 0
        with worker(env, log):
            _five_steps_once(_command(env, *DEMO))


def test_a_malformed_input_is_refused(env: dict[str, str]) -> None:
    """W12: at the door, naming the field; nothing is stored."""
    bad = _command(
        env | {"TASKPLATFORM_PIPELINES": "pipelines"}, "enqueue", "demo", "--input", "{}"
    )
    assert bad.returncode == 2
    assert "task_id" in bad.stderr
    listed = _command(env, "runs", "list", "-o", "json")
    assert json.loads(listed.stdout) == []


def test_redis_is_emptied_with_500_runs_queued(own_home: Path, ledger: Ledger, log: Path) -> None:
    """Q1: FLUSHALL, and all finish, none twice."""
    servers = embedded(own_home)
    env = {
        "TASKPLATFORM_HOME": str(own_home),
        "TASKPLATFORM_PIPELINES": "tests.acceptance.ledger",
    }
    os.environ.update(env)
    forget()
    try:
        orders = [{"ledger": ledger.path, "id": str(n)} for n in range(500)]
        runs = enqueue_many(pipelines.three, orders)
        with worker(env, log), Redis.from_url(servers.broker_url) as redis:
            redis.flushall()
            wait_for(lambda: len(ledger.count("end:third")) == 500, 60, "all finished")
            for run in runs:
                assert run.wait(timeout=10).status == "succeeded"
    finally:
        for name in env:
            os.environ.pop(name)
        forget()
    for step in ("first", "second", "third"):
        assert set(ledger.count(f"start:{step}").values()) == {1}


def test_beat_and_flower_start_on_the_same_app(env: dict[str, str], tmp_path: Path) -> None:
    """C5: Celery's own commands find the app."""
    port = system_servers.free_port()
    with _celery(env, tmp_path / "beat", "beat", "-s", str(tmp_path / "schedule")) as beat:
        wait_for(lambda: "is starting" in beat.read_text(), 30, "beat started")
    with _celery(env, tmp_path / "flower", "flower", "--address=127.0.0.1", f"--port={port}"):
        wait_for(lambda: _serves(f"http://127.0.0.1:{port}/healthcheck"), 30, "flower started")


@contextmanager
def _celery(env: dict[str, str], log: Path, *arguments: str) -> Iterator[Path]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "taskplatform", *arguments],
            env={**os.environ, **env},
            cwd=ROOT,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(20)


def _serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
