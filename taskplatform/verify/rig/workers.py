"""Real workers, as a user starts them, each in a session of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from taskplatform.verify.rig import processes
from taskplatform.verify.rig.waiting import wait_for

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[3]
_SUPERVISOR = "taskplatform.supervisor"


@dataclass
class Worker:
    """A `celery -A taskplatform worker` and what it prints."""

    process: subprocess.Popen[bytes]
    log: Path
    name: str
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT

    @property
    def pid(self) -> int:
        """The pid of the worker's main process."""
        return self.process.pid

    def children(self) -> list[int]:
        """The pids of the pool children."""
        return [one.pid for one in self._started() if _SUPERVISOR not in one.command()]

    def supervisors(self) -> list[int]:
        """The pid of the supervisor, if there is one now."""
        return [one.pid for one in self._started() if _SUPERVISOR in one.command()]

    def pids(self) -> list[int]:
        """The main process first, then all that it started."""
        return [self.pid, *(one.pid for one in self._started())]

    def _started(self) -> list[processes.Seen]:
        return processes.children(self.pid)

    def alive(self) -> bool:
        """Whether the main process lives."""
        return self.process.poll() is None

    def kill_all(self) -> None:
        """Kill the worker and everything it started, as the kernel would: without a word."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def pause_all(self) -> list[int]:
        """Stop the worker and everything it started; the pids."""
        # The parent first: it starts nothing between the look at its children and their stop.
        processes.send([self.pid], signal.SIGSTOP)
        return processes.send(self.pids(), signal.SIGSTOP)

    def continue_all(self) -> None:
        """Let everything go on."""
        processes.send(self.pids(), signal.SIGCONT)

    def term(self) -> None:
        """Ask the main process to end."""
        self.process.send_signal(signal.SIGTERM)

    def term_group(self) -> None:
        """Ask the whole process group to end, as some service managers do."""
        os.killpg(self.pid, signal.SIGTERM)

    def revive(self) -> None:
        """Start a dead worker again under its name; whoever needs it ready waits for that."""
        assert not self.alive(), "a second worker of the name"
        self.process = _start(self.command, self.env, self.log, self.cwd)

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until it is. Raises AssertionError with what it printed."""
        wait_for(
            lambda: not self.alive() or b"ready." in self.log.read_bytes(),
            seconds,
            f"worker ready; it said:\n{self.log.read_text()}",
        )
        assert self.alive(), self.log.read_text()

    def stop(self) -> None:
        """End it, by force when it does not within 10 s; what it started too."""
        if self.alive():
            self.term()
            processes.send(self.pids(), signal.SIGCONT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.kill_all()


def start(
    env: Mapping[str, str],
    log: Path,
    *arguments: str,
    name: str = "w",
    app: str = "taskplatform",
    cwd: Path = ROOT,
    prefix: Sequence[str] = (),
) -> Worker:
    """Start a worker; does not wait until it is ready. `prefix` is a program that executes it."""
    celery = [str(BIN / "celery"), "-A", app, "worker", "-l", "INFO", "--without-mingle"]
    command = [*prefix, *celery, "-n", f"{name}@test", *arguments]
    return Worker(_start(command, env, log, cwd), log, name, command, env, cwd)


@contextmanager
def worker(
    env: Mapping[str, str],
    log: Path,
    *arguments: str,
    name: str = "w",
    app: str = "taskplatform",
) -> Iterator[Worker]:
    """Start a worker, wait until it is ready, and stop it in the end."""
    started = start(env, log, *arguments, name=name, app=app)
    try:
        started.wait_ready()
        yield started
    finally:
        started.stop()


def _start(
    command: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path
) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            env={**os.environ, **env},
            cwd=cwd,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
