"""Real processes of the platform, as a user starts them, each in a session of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
_SUPERVISOR = "taskplatform.supervisor"


def wait_for(fact: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `fact` holds; fail the test if it does not within so many seconds."""
    until = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


@dataclass
class Worker:
    """A `celery -A taskplatform worker` and what it prints."""

    process: subprocess.Popen[bytes]
    log: Path
    name: str

    @property
    def pid(self) -> int:
        """The pid of the worker's main process."""
        return self.process.pid

    def children(self) -> list[int]:
        """The pids of the pool children."""
        return [pid for pid, command in self._processes() if _SUPERVISOR not in command]

    def supervisors(self) -> list[int]:
        """The pid of the supervisor, if there is one now."""
        return [pid for pid, command in self._processes() if _SUPERVISOR in command]

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        for child in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                yield child.pid, child.cmdline()

    def kill_all(self) -> None:
        """Kill the worker and everything it started, as the kernel would: without a word."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def term(self) -> None:
        """Ask the main process to end."""
        self.process.send_signal(signal.SIGTERM)

    def term_group(self) -> None:
        """Ask the whole process group to end, as some service managers do."""
        os.killpg(self.pid, signal.SIGTERM)


@contextmanager
def worker(
    env: Mapping[str, str],
    log: Path,
    *arguments: str,
    name: str = "w",
    app: str = "taskplatform",
) -> Iterator[Worker]:
    """Start a worker, wait until it is ready, and stop it in the end."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [
                BIN / "celery",
                "-A",
                app,
                "worker",
                "-l",
                "INFO",
                "--without-mingle",
                "-n",
                f"{name}@test",
                *arguments,
            ],
            env={**os.environ, **env},
            cwd=ROOT,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    started = Worker(process, log, name)
    try:
        wait_for(
            lambda: process.poll() is not None or b"ready." in log.read_bytes(),
            60,
            f"worker ready; it said:\n{log.read_text()}",
        )
        assert process.poll() is None, log.read_text()
        yield started
    finally:
        _stop(started)


def _stop(started: Worker) -> None:
    process = started.process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
