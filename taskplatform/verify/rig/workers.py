"""Real workers in sessions of their own, which can be killed, paused and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from taskplatform.errors import Unavailable
from taskplatform.verify.rig import processes

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
        self._env = {**os.environ, **env}
        self._command = [
            sys.executable, "-m", "celery", "-A", app, "worker", "-l", "INFO",
            "--without-mingle", "-n", f"{name}@verify", *arguments,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, without waiting."""
        if self._process is not None:
            # A zombie until somebody asks for how it ended.
            self._process.wait(10)
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until it consumes. Raises Unavailable if it ends, or takes more than a minute."""
        assert self._process is not None
        until = time.monotonic() + _READY
        while b"ready." not in self.log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > until:
                raise Unavailable(f"worker {self.name} does not start: {self.log.read_text()}")
            time.sleep(0.02)

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
        """Kill all its processes at once; return who they were."""
        everyone = self.everyone()
        processes.send(everyone, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        return everyone

    def stop(self, seconds: float = 15.0) -> None:
        """Ask it to end, and kill what does not."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()
