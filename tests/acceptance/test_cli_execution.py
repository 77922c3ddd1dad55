"""The command line with a real worker: waiting, failing, going on, and `dev`."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.processes import wait_for
from tests.command_line import CommandLine, on

STEPS = """
from pathlib import Path
from pydantic import BaseModel
from taskplatform import Permanent, Pipeline, Retry

class Job(BaseModel):
    name: str
    gate: str | None = None

job = Pipeline("job", input=Job, key="name", retry=Retry(delays=["1h"]))

@job.step
def first(input: Job) -> str:
    return input.name.upper()

@job.step
def second(input: Job, first: str) -> str:
    if input.gate and not Path(input.gate).exists():
        raise ValueError("the gate is closed")
    if input.name == "hopeless":
        raise Permanent("no way")
    return first + "!"

@job.step
def third(second: str) -> str:
    return second + "?"
"""


@pytest.fixture
def cli(database_url: str, broker_url: str, tmp_path: Path) -> CommandLine:
    (tmp_path / "jobs.py").write_text(STEPS)
    servers = on(database_url, broker_url, pipelines="jobs", concurrency="1", shutdown_grace="5")
    return CommandLine(servers.settings, tmp_path)


@pytest.fixture
def worker(cli: CommandLine) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-q", "-A", "taskplatform", "worker"]
    with (cli.folder / "worker.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=cli.folder, env=cli.environment, stdout=log, stderr=log
        )
        yield
        process.terminate()
        process.wait(timeout=30)


def _input(name: str, **fields: object) -> str:
    return json.dumps({"name": name, **fields})


def test_a_run_is_waited_for_and_told(cli: CommandLine, worker: None) -> None:
    """Q30, C5: exit 0, every step with one attempt; a worker is listed, nothing is unserved."""
    wait = ("--wait", "--timeout", "60", "-o", "json")
    run = cli("enqueue", "job", "--input", _input("a"), *wait).json

    assert (run["status"], run["output"]) == ("succeeded", "A!?")
    assert [len(step["attempts"]) for step in run["steps"]] == [1, 1, 1]
    watched = cli("runs", "watch", run["id"])
    assert watched.code == 0
    assert re.search(r"second succeeded, attempt 1", watched.out)
    (listed,) = cli("workers", "list", "-o", "json").json
    assert listed["concurrency"] == 1
    assert "job" in listed["pipelines"]
    doctor = cli("doctor")
    assert (doctor.code, "! queues" in doctor.out) == (0, False)
    assert "✓ workers" in doctor.out

    failed = cli("enqueue", "job", "--input", _input("hopeless"), "--wait", "-o", "json")
    assert failed.code == 1
    assert json.loads(failed.out)["error"]["message"] == "no way"
    shown = cli("runs", "show", json.loads(failed.out)["id"]).out
    assert "no way" in shown
    assert "Traceback" in shown
    assert f"runs retry {json.loads(failed.out)['id']}" in shown


def test_a_waiting_run_is_explained_and_taken_up(cli: CommandLine, worker: None) -> None:
    """Q16: from the point of failure, by hand; a replay reuses what was done."""
    gate = cli.folder / "gate"
    data = _input("b", gate=str(gate))
    timed_out = cli("enqueue", "job", "--input", data, "--wait", "--timeout", "1", "-o", "json")
    assert timed_out.code == 124
    run = json.loads(timed_out.out)
    wait_for(
        lambda: cli("runs", "show", run["id"], "-o", "json").json["reason"] == "retry",
        30,
        "the run waits for its retry",
    )
    shown = cli("runs", "show", run["id"]).out
    assert "waits for the next retry, until" in shown
    assert "ValueError: the gate is closed" in shown

    gate.touch()
    assert cli("runs", "retry", run["id"], "-o", "json").json["id"] == run["id"]
    ended = cli("runs", "watch", run["id"], "-o", "json", "--timeout", "30").json

    assert ended["output"] == "B!?"
    assert [len(step["attempts"]) for step in ended["steps"]] == [1, 2, 1]
    new = cli("runs", "replay", run["id"], "--from", "third", "--wait", "-o", "json").json
    assert new["replay_of"] == run["id"]
    assert [step["status"] for step in new["steps"]] == ["reused", "reused", "succeeded"]


def test_dev_runs_everything_until_ctrl_c(cli: CommandLine) -> None:
    """C5: one terminal; a worker that is killed is started again; nothing is left behind."""
    with cli.started("dev") as process:
        said = _Said(process)
        said.wait_for("ready")
        run = cli("enqueue", "job", "--input", _input("c"), "--wait", "--timeout", "30")
        assert run.code == 0
        parent = psutil.Process(process.pid)
        first = _worker_of(parent)
        first.kill()
        said.wait_for("SIGKILL; starting it again")
        _until(lambda: any(one.pid != first.pid for one in parent.children()))
        again = cli("enqueue", "job", "--input", _input("d"), "--wait", "--timeout", "60")
        assert again.code == 0
        below = parent.children(recursive=True)

        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0

        _, alive = psutil.wait_procs(below, timeout=10)
        assert alive == []
        said.wait_for("stopped")
        assert "Traceback" not in said.text


def test_a_killed_dev_takes_its_worker_along(cli: CommandLine) -> None:
    with cli.started("dev") as process:
        _Said(process).wait_for("ready")
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(below, timeout=20)
        assert alive == []


def test_dev_gives_up_on_a_worker_that_does_not_come_up(cli: CommandLine) -> None:
    """The second import of the module fails: the worker's, after dev's own."""
    with (cli.folder / "jobs.py").open("a") as module:
        module.write(
            "\nimport sys\nif any('celery' in one for one in sys.argv):\n    raise SystemExit(7)\n"
        )
    result = cli("dev")
    assert result.code == 7, result
    assert result.err.count("ended with code 7") == 3


def test_dev_has_five_demo_runs(database_url: str, broker_url: str, tmp_path: Path) -> None:
    """Q27: of different kinds."""
    cli = on(database_url, broker_url, concurrency="1", home=str(tmp_path))
    with cli.started("dev", "--demo") as process:
        said = _Said(process)
        said.wait_for("ready")
        _until(lambda: len(set(_states(cli))) >= 3, timeout=30)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def _states(cli: CommandLine) -> list[str]:
    return [run["status"] for run in cli("runs", "list", "--pipeline", "demo", "-o", "json").json]


def _worker_of(parent: psutil.Process) -> psutil.Process:
    (worker,) = (one for one in parent.children() if "celery" in one.cmdline())
    return worker


def _until(true: Callable[[], bool], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class _Said:
    """What a program writes on stderr, as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.text = ""
        self._changed = threading.Condition()
        assert process.stderr is not None
        self._stream = process.stderr
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, words: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: words in self.text, 40), self.text

    def _read(self) -> None:
        for line in self._stream:
            with self._changed:
                self.text += line
                self._changed.notify_all()
