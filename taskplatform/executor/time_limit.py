"""The soft time limit: an exception raised inside user code, and nowhere else."""

import signal
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType

from taskplatform.errors import Interrupted, TimeLimitExceeded


class TimeLimit:
    """Arms the process's alarm around user code; the same alarm carries interruptions.

    Signals reach only a process's main thread: in a threads pool there is no soft limit, and
    the lease, which is not renewed past the hard limit, is what ends an attempt.
    """

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted
        self._armed = False
        self._seconds = 0.0
        self._until = 0.0
        self._silence: Callable[[], float] | None = None
        self.available = threading.current_thread() is threading.main_thread()
        if self.available:
            signal.signal(signal.SIGALRM, self._on_alarm)

    def arm(self, seconds: float, silence: Callable[[], float] | None = None) -> None:
        """From now on the body runs.

        `silence` tells how many seconds the body may go on without a report, and raises when it
        has been silent for too long.
        """
        if self.available:
            self._seconds = seconds
            self._until = monotonic() + seconds
            self._silence = silence
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, seconds if silence is None else self._wait())

    def disarm(self) -> None:
        """The body has ended: nothing may be raised from here on."""
        if self._armed:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_alarm(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._armed:
            return
        if self._interrupted():
            raise Interrupted
        wait = self._wait()
        if wait <= 0:
            raise TimeLimitExceeded(
                f"the attempt ran longer than its timeout of {self._seconds:g} s"
            )
        # It reported meanwhile: the alarm was set to the end of its silence.
        signal.setitimer(signal.ITIMER_REAL, wait)

    def _wait(self) -> float:
        left = self._until - monotonic()
        return left if self._silence is None else min(left, self._silence())
