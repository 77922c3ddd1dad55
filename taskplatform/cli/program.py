"""A program that `dev` keeps running: started, its output prefixed, restarted when it dies."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
# A program that dies sooner than this after its start has not come up.
_CAME_UP = 10.0
_TRIES = 3
_PR_SET_PDEATHSIG = 1
# Loaded here: after the fork there is no safe moment for it.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Program:
    """One program and the next copies of it.

    It runs in a process group of its own, so that a Ctrl-C in the terminal reaches only `dev`,
    which tells it to end; a `dev` that is killed takes it along.
    """

    def __init__(self, name: str, command: Sequence[str], say: Callable[[str, str], None]) -> None:
        """`say(name, line)` is called for every line that it writes."""
        self.name = name
        self._command = list(command)
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = 0.0
        self._next_start = 0.0
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it."""
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
            preexec_fn=_end_with_parent,
        )
        self._process, self._started = process, time.monotonic()
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()

    def look(self) -> int | None:
        """Restart it when it died and the pause is over; its code once it does not come up."""
        if self._process is None:
            if time.monotonic() >= self._next_start:
                self.start()
            return None
        code = self._process.poll()
        if code is None:
            return None
        self._process = None
        came_up = time.monotonic() - self._started > _CAME_UP
        self._deaths = 1 if came_up else self._deaths + 1
        if self._deaths == _TRIES:
            self._say(self.name, f"ended with {_said(code)} right after its start, {_TRIES} times")
            return code if code > 0 else 1
        pause = min(_FIRST_PAUSE * 2 ** (self._deaths - 1), _LONGEST_PAUSE)
        self._next_start = time.monotonic() + pause
        self._say(self.name, f"ended with {_said(code)}; starting it again in {pause:g} s")
        return None

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal; the programs that it started are told by it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ended(self) -> bool:
        """Whether it runs no more; then all that it wrote has been said."""
        if self._process is not None and self._process.poll() is None:
            return False
        if self._reader is not None:
            self._reader.join(timeout=0.5)
        return True

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._say(self.name, line.rstrip("\n"))


def _end_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _said(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
