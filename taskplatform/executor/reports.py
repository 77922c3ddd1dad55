"""What a body reports: kept in shared memory, where the supervisor fetches it."""

import threading
from math import isfinite, nan
from time import monotonic_ns

from taskplatform.errors import TimeLimitExceeded
from taskplatform.executor.notes import Report
from taskplatform.executor.slot import Slot


class Reporter:
    """The reports of one body, from any of its threads; what comes after its end is ignored."""

    __slots__ = ("_beat_ns", "_body", "_lock", "_slot", "done", "silence", "total")

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._lock = threading.Lock()
        self._body: tuple[int, int, int] | None = None
        self._beat_ns = 0
        self.silence: float | None = None
        self.done: float | None = None
        self.total: float | None = None

    def begin(self, work_id: int, epoch: int, started_ns: int, silence: float | None) -> None:
        """The body starts; `silence` is how many seconds it may go without a report."""
        self._body = (work_id, epoch, started_ns)
        self._beat_ns = started_ns
        self.silence = silence
        if silence is not None:
            # Without it the supervisor would not know that this body has to report.
            self._write()

    def end(self) -> tuple[float | None, float | None]:
        """The body has ended; how much of how much it had done."""
        with self._lock:
            self._body = None
        return self.done, self.total

    def progress(self, done: float, total: float) -> None:
        """So much of so much is done; what is not finite counts as not known."""
        self._report(*(one if isfinite(one) else None for one in (float(done), float(total))))

    def heartbeat(self) -> None:
        """The body is alive."""
        self._report(self.done, self.total)

    def left(self) -> float:
        """Seconds until the body has been silent for too long; raises TimeLimitExceeded then."""
        assert self.silence is not None
        left = self.silence - (monotonic_ns() - self._beat_ns) / 1e9
        if left <= 0:
            raise TimeLimitExceeded(silent(self.silence))
        return left

    def _report(self, done: float | None, total: float | None) -> None:
        with self._lock:
            if self._body is not None:
                self.done, self.total, self._beat_ns = done, total, monotonic_ns()
                self._write()

    def _write(self) -> None:
        assert self._body is not None
        done, total = (nan if one is None else one for one in (self.done, self.total))
        silence_ns = int((self.silence or 0) * 1e9)
        self._slot.write_report(Report(*self._body, self._beat_ns, silence_ns, done, total))


def silent(seconds: float) -> str:
    """What is said of a body that did not report."""
    return (
        f"the body reported nothing for {seconds:g} s: "
        "let it call ctx.heartbeat() or ctx.progress() more often"
    )
