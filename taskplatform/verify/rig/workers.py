"""Real workers in sessions of their own, which can be killed, paused and started again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from taskplatform.errors import Unavailable
from taskplatform.verify.rig import processes
from taskplatform.verify.rig.clocks import WallClock

_READY = 60.0


class Worker:
    """One `celery -A APP worker`, and the next one of its name after a kill."""

    def __init__(
        self,
        name: str,
        env: Mapping[str, str],
        folder: Path,
        arguments: Sequence[str] = (),
        app: str = "taskplatform",
    ) -> None:
        """Not started yet; what it prints goes to NAME.log in the folder."""
        self.name = name
        self.log = folder / f"{name}.log"
        self.clock = WallClock(folder / f"{name}.clock")
        merged = {**os.environ, **env}
        self._env = {**merged, **self.clock.env(merged)}
        self._command = [
            sys.executable, "-m", "celery", "-A", app, "worker", "-l", "INFO",
            "--without-mingle", "-n", f"{name}@verify", *arguments,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        # Whoever kills it, whoever starts it and whoever keeps it up are different threads.
        self._lock = threading.RLock()
        self._wanted = False
        self._said = 0

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, without waiting."""
        with self._lock:
            self._wanted = True
            if self._process is not None:
                # A zombie until somebody asks for how it ended.
                self._process.wait(10)
            with self.log.open("ab") as out:
                self._said = out.tell()
                self._process = subprocess.Popen(
                    self._command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )

    def start_if_ended(self) -> int | None:
        """Start it if it has ended by itself; the exit code of the one before, None: it lives."""
        with self._lock:
            if self._process is None or not self._wanted or self._process.poll() is None:
                return None
            code = self._process.returncode
            self.start()
            return code

    def wait_ready(self) -> None:
        """Wait until it consumes. Raises Unavailable if it ends, or takes more than a minute."""
        until = time.monotonic() + _READY
        while not self.ready:
            if not self.alive or time.monotonic() > until:
                raise Unavailable(f"worker {self.name} does not start: {self.log.read_text()}")
            time.sleep(0.02)

    @property
    def ready(self) -> bool:
        """Whether it lives, and has begun to consume."""
        with self.log.open("rb") as log:
            log.seek(self._said)
            return self.alive and b"ready." in log.read()

    @property
    def alive(self) -> bool:
        """Whether the main process runs."""
        return self._process is not None and self._process.poll() is None

    def children(self) -> list[int]:
        """The pool children."""
        return [pid for pid in processes.children(self.pid) if not processes.is_supervisor(pid)]

    def supervisors(self) -> list[int]:
        """The supervisor, if there is one now."""
        return [pid for pid in processes.children(self.pid) if processes.is_supervisor(pid)]

    def everyone(self) -> list[int]:
        """All its processes."""
        return processes.tree(self.pid)

    def kill(self) -> list[int]:
        """Kill all its processes at once, until it is started again; return who they were."""
        with self._lock:
            self._wanted = False
            everyone = self.everyone()
            processes.send(everyone, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            if self._process is not None:
                self._process.wait()
            return everyone

    def kill_parent(self) -> list[int]:
        """Kill only the main process, and start the next one; return all who were there."""
        with self._lock:
            everyone = self.everyone()
            processes.send([self.pid], signal.SIGKILL)
            self.start()
            return everyone

    def stop(self, seconds: float = 15.0) -> None:
        """Ask it to end, and kill what does not."""
        with self._lock:
            self._wanted = False
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()
