"""A server of ours that may be harmed: killed, stopped, paused, started anew without data."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from taskplatform.embedded.place import Place
from taskplatform.embedded.postgres import Postgres
from taskplatform.embedded.server import HOST, Software, environment
from taskplatform.embedded.valkey import Valkey
from taskplatform.verify.rig.processes import everything, gone, look, send
from taskplatform.verify.rig.waiting import wait_for

_PATIENCE = 60.0


class PrivateServer:
    """One server on a port that it keeps; `software` says how it is made and started."""

    def __init__(self, software: Software, log: Path) -> None:
        """Nothing is started yet; what the server says goes to `log`."""
        self.software = software
        self.log = log
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How to reach it, past the proxy."""
        return self.software.url(self.port)

    def start(self) -> None:
        """Start it and wait until it serves. Raises AssertionError with its log."""
        self.software.prepare()
        user = self.software.place.user
        with self.log.open("ab") as out:
            process = subprocess.Popen(
                self.software.command(self.port),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.software.data,
                env=environment(),
                start_new_session=True,
                umask=0o077,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=[] if user else None,
            )
        self._process = process
        wait_for(
            lambda: process.poll() is not None or self.software.ready(self.port, process.pid),
            _PATIENCE,
            f"{self.software.name} is ready; its log: {self.log}",
        )
        if process.poll() is not None:
            raise AssertionError(self.log.read_text(errors="replace"))

    def pids(self) -> list[int]:
        """All its processes, the first one first: also those whose parent is gone."""
        data = self.software.data
        found = []
        for one in everything():
            with contextlib.suppress(OSError):
                if Path(os.readlink(f"/proc/{one.pid}/cwd")) == data:
                    found.append(one.pid)
        main = self._process.pid if self._process else 0
        return sorted(found, key=lambda pid: (pid != main, pid))

    def kill(self) -> list[int]:
        """Kill all its processes at once (SIGKILL); the pids."""
        return self._end(signal.SIGKILL)

    def stop_immediately(self) -> list[int]:
        """Let it end without a checkpoint (SIGQUIT): the next start recovers; the pids."""
        pids = self.pids()
        self.go_on()
        send(pids[:1], signal.SIGQUIT)
        if not gone(pids, 10.0):
            self.kill()
        self._reap()
        return pids

    def restart(self, *, empty: bool = False) -> list[int]:
        """Kill it and start it at the same port, with its data or without; the pids killed."""
        pids = self.kill()
        if empty:
            shutil.rmtree(self.software.data, ignore_errors=True)
        self.start()
        return pids

    def pause(self) -> list[int]:
        """Stop all its processes (SIGSTOP): connections stay open, nobody answers; the pids."""
        stopped: list[int] = []
        # The first one first, and again until there is no new one: it may have been forking.
        while new := [pid for pid in self.pids() if pid not in stopped]:
            stopped += new
            send(new, signal.SIGSTOP)
        return stopped

    def go_on(self) -> None:
        """Let all its processes go on."""
        send(self.pids(), signal.SIGCONT)

    def alive(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and look(self._process.pid) is not None

    def close(self) -> None:
        """End it for good."""
        if self.pids():
            self.stop_immediately()

    def _end(self, number: signal.Signals) -> list[int]:
        pids = self.pids()
        send(pids, number)
        while left := self.pids():
            send(left, number)
            gone(left, 1.0)
        self._reap()
        return pids

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(10)


def postgres(place: Place, log: Path) -> PrivateServer:
    """A PostgreSQL as durable as the embedded one: fsync and synchronous_commit stay on."""
    return PrivateServer(Postgres(place, secrets.token_hex(16)), log)


def valkey(place: Place, log: Path) -> PrivateServer:
    """A Valkey with an append-only file."""
    return PrivateServer(Valkey(place, secrets.token_hex(16)), log)
