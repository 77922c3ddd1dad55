"""The soft time limit: an exception raised inside user code, and nowhere else."""

import signal
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType

from taskplatform.errors import Interrupted, TimeLimitExceeded

# So long an alarm that was set is believed to be set: the next body of a batch starts under it.
# Not longer, since a body that took its time may have used the process's alarm for itself.
_BELIEVED = 0.001


class TimeLimit:
    """Arms the process's alarm around user code; the same alarm carries interruptions.

    Signals reach only a process's main thread: in a threads pool there is no soft limit, and
    the lease, which is not renewed past the hard limit, is what ends an attempt. Nothing is raised
    unless it is `armed`: who waits for a body clears that as soon as it has ended.
    """

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted
        self.armed = False
        self._seconds = 0.0
        self._until = 0.0
        self._silence: Callable[[], float] | None = None
        self._alarm_at = 0.0
        self._believed_until = 0.0
        self.available = threading.current_thread() is threading.main_thread()
        if self.available:
            signal.signal(signal.SIGALRM, self._on_alarm)

    def arm(self, seconds: float, silence: Callable[[], float] | None = None) -> None:
        """From now on the body runs.

        `silence` tells how many seconds the body may go on without a report, and raises when it
        has been silent for too long.
        """
        if not self.available:
            return
        now = monotonic()
        self._seconds = seconds
        self._until = until = now + seconds
        self._silence = silence
        self.armed = True
        # An alarm that comes too early for this body is set again when it comes.
        if now > self._believed_until or self._alarm_at > until or silence is not None:
            self._believed_until = now + _BELIEVED
            self._alarm_in(seconds if silence is None else self._wait())

    def rest(self) -> None:
        """No body starts for now: the process has its alarm to itself."""
        if self._alarm_at:
            self._alarm_at = self._believed_until = 0.0
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_alarm(self, _signal: int, _frame: FrameType | None) -> None:
        if not self.armed:
            self._believed_until = 0.0
            return
        if self._interrupted():
            raise Interrupted
        wait = self._wait()
        if wait <= 0:
            self._believed_until = 0.0
            raise TimeLimitExceeded(
                f"the attempt ran longer than its timeout of {self._seconds:g} s"
            )
        # It reported meanwhile, or the alarm was that of an earlier body.
        self._alarm_in(wait)

    def _alarm_in(self, seconds: float) -> None:
        self._alarm_at = monotonic() + seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _wait(self) -> float:
        left = self._until - monotonic()
        return left if self._silence is None else min(left, self._silence())
