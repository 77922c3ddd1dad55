"""Wait for the end of a run: when to look, for how long, and through which outages."""

import time
from typing import TYPE_CHECKING, Any

from taskplatform.core.run import FINAL
from taskplatform.errors import Unavailable, WaitTimeout

if TYPE_CHECKING:
    from taskplatform.client.run import Run

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1
_OUTAGE = 30.0


class Waiting:
    """One wait, of at most `timeout` seconds."""

    def __init__(self, run: "Run[Any]", timeout: float | None) -> None:
        self._run = run
        self._timeout = timeout
        self._answered = time.monotonic()
        self._deadline = None if timeout is None else self._answered + timeout
        self._pause = _FIRST_PAUSE
        self._found = False

    def look(self) -> float | None:
        """Look once; None if the run has ended, or in how many seconds to look again.

        Raises WaitTimeout, and Unavailable if the database has been away for 30 s.
        """
        try:
            self._run.refresh()
            self._answered, self._found = time.monotonic(), True
        except Unavailable:
            if time.monotonic() > self._answered + _OUTAGE or not self._found:
                raise
        if self._run.status in FINAL:
            return None
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            raise WaitTimeout(
                f"run {self._run.id} did not end within {self._timeout:g} s: it is "
                f"{self._run._where()}"
            )
        pause, self._pause = self._pause, min(self._pause * 1.5, _LONGEST_PAUSE)
        return pause if left is None else min(pause, left)
