"""The soft time limit: an exception raised inside user code, and nowhere else."""

import signal
import threading
from collections.abc import Callable
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
        self.available = threading.current_thread() is threading.main_thread()
        if self.available:
            signal.signal(signal.SIGALRM, self._on_alarm)

    def arm(self, seconds: float) -> None:
        """From now on the body runs."""
        if self.available:
            self._seconds = seconds
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, seconds)

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
        raise TimeLimitExceeded(f"the attempt ran longer than its timeout of {self._seconds:g} s")
