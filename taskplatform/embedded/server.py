"""One server under a keeper: started, watched, started again, stopped."""

import logging
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from taskplatform.embedded.place import Place
from taskplatform.embedded.processes import Process, find
from taskplatform.errors import Unavailable

log = logging.getLogger(__name__)

FIRST_TRIES = 5
LONGEST_BACKOFF = 5.0
# Up for so long, it is no longer in a loop of crashes.
STEADY = 10.0
HOST = "127.0.0.1"
LOG_LIMIT = 10 * 1024 * 1024


class Software(Protocol):
    """What differs between the servers."""

    name: str
    program: str
    place: Place
    data: Path
    stop_signals: tuple[tuple[signal.Signals, float], ...]

    def prepare(self) -> None:
        """Make the data folder, if it is not there; get rid of what blocks a start."""

    def command(self, port: int) -> list[str]:
        """The command line, which contains the data folder and, last, the port."""

    def ready(self, port: int, pid: int) -> bool:
        """Whether it serves."""

    def url(self, port: int) -> str:
        """How to reach it."""

    def mend(self, said: str) -> None:
        """Do what can be done about the last words of a start that failed."""


@dataclass
class Server:
    """Never blocks in `tick`, but for the making of a new data folder (under a second)."""

    software: Software
    log_file: Path
    port: int = 0
    ready: bool = False
    process: Process | None = None
    proven: bool = False
    ready_at: float = 0.0
    failures: int = 0
    not_before: float = field(default_factory=time.monotonic)

    def tick(self) -> None:
        """Look after the server once.

        Raises Unavailable if it never came up in this keeper's life and will not.
        """
        if self.process is None:
            if time.monotonic() >= self.not_before:
                self._start()
        elif not self.process.alive():
            self._ended()
        elif not self.ready and self.software.ready(self.port, self.process.pid):
            self.ready = self.proven = True
            self.ready_at = time.monotonic()
            log.info("%s is ready, pid %d, port %d", *self._named(), self.port)

    def adopt(self) -> bool:
        """Take over the server that a killed keeper left, if it is well; stop it if not."""
        for process in find(self.software.program, str(self.software.data)):
            port = _port_of(process)
            if self.process is None and port and self.software.ready(port, process.pid):
                self.process, self.port, self.ready, self.proven = process, port, True, True
                log.info("%s is taken over, pid %d, port %d", *self._named(), port)
            else:
                log.info(
                    "%s of an earlier keeper is stopped: pid %d", self.software.name, process.pid
                )
                _end(process, self.software.stop_signals)
        return self.process is not None

    def ask_to_stop(self) -> None:
        """Send the first of the stop signals."""
        if self.process is not None:
            self.process.send(self.software.stop_signals[0][0])

    def stop(self) -> None:
        """Stop the server, gently first."""
        if self.process is not None:
            _end(self.process, self.software.stop_signals)
            log.info("%s has stopped, pid %d", *self._named())
        self.process, self.ready = None, False

    @property
    def url(self) -> str:
        """How to reach the server."""
        return self.software.url(self.port)

    def _start(self) -> None:
        if self.adopt():
            return
        self.software.prepare()
        # A server that was reached once is looked for at the same port again.
        if not self.proven:
            self.port = _free_port()
        command = self.software.command(self.port)
        _rotate(self.log_file)
        user = self.software.place.user
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd=self.software.data,
                env=environment(),
                start_new_session=True,
                umask=0o077,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=[] if user else None,
            )
        except OSError as error:
            raise Unavailable(f"cannot execute {command[0]}: {error}") from None
        finally:
            os.close(descriptor)
        self.process = Process.of(child, command)

    def _ended(self) -> None:
        log.warning("%s has ended, pid %d; its log: %s", *self._named(), self.log_file)
        if self.ready and time.monotonic() - self.ready_at > STEADY:
            self.failures = 0
        if not self.ready:
            self.software.mend(_last_line(self.log_file))
        self.process, self.ready = None, False
        self.failures += 1
        if not self.proven and self.failures >= FIRST_TRIES:
            raise Unavailable(f"{self.software.name} ends at once: {_last_line(self.log_file)}")
        self.not_before = time.monotonic() + min(0.1 * 2**self.failures, LONGEST_BACKOFF)

    def _named(self) -> tuple[str, int]:
        return self.software.name, self.process.pid if self.process else 0


def environment() -> dict[str, str]:
    """What servers see of the environment: nothing that would change how they work."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _end(process: Process, signals: tuple[tuple[signal.Signals, float], ...]) -> None:
    for number, seconds in signals:
        process.send(number)
        if process.wait(seconds):
            return
    process.send(signal.SIGKILL)
    process.wait(5.0)


def _port_of(process: Process) -> int:
    numbers = [argument for argument in process.arguments if argument.isdigit()]
    return int(numbers[-1]) if numbers else 0


def _free_port() -> int:
    # Somebody else may take it before the server does; the next try has another one.
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _rotate(path: Path) -> None:
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(f"{path.name}.1"))


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "it says nothing"
