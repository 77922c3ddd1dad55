"""Ringing in the background: whoever asks never waits for the broker."""

import atexit
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

logger = logging.getLogger("taskplatform.client")

# Whether nobody had to be woken, so that the next ring may come a little later.
Ring = Callable[[Mapping[str, int]], bool | None]
LAST_MOMENT = 1.0
# Where rings cannot be sent at once, that is tried again after so many of them.
_SELDOM = 1000
# Whoever attends looks several times in this time. If that ends, it is what a ring comes late.
PAUSE = 0.005


class Broken(Exception):
    """What was to be sent at once has to be sent by the thread."""


class Quick(Protocol):
    """Sends single rings without waiting for anything, see `Line`; may raise Broken."""

    def ring(self, queue: str) -> bool: ...

    def flush(self, timeout: float) -> bool: ...


class Ringer:
    """One thread that rings; what is asked for while it rings goes into the next ring.

    From the third ring on, a single one is sent by whoever asks, if `connect` says by what.
    """

    def __init__(self, ring: Ring, connect: Callable[[], Quick] | None = None) -> None:
        self._ring = ring
        self._connect = connect
        self._reset()
        # A forked child has the parent's locks and none of its threads.
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self._last_moment)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._wanted: Counter[str] = Counter()
        self._ringing = False
        self._thread: threading.Thread | None = None
        self._away = False
        self._leaving = False
        self._rung = 0
        self.quick: Quick | None = None

    def ring(self, queue: str, count: int = 1) -> None:
        """Tell the workers, soon, that `count` runs are ready on `queue`; returns at once."""
        with self._changed:
            if count == 1 and self.quick and not self._ringing and self._at_once(self.quick, queue):
                return
            self._wanted[queue] += count
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="taskplatform ringer", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float = LAST_MOMENT) -> bool:
        """Wait until all that was asked for is rung; False if that took too long. In seconds."""
        with self._changed:
            rung = self._changed.wait_for(lambda: not self._wanted and not self._ringing, timeout)
            return rung and (self.quick is None or self.quick.flush(timeout))

    def _last_moment(self) -> None:
        self._leaving = True
        self.flush()

    def _at_once(self, quick: Quick, queue: str) -> bool:
        try:
            return not self._wanted and quick.ring(queue)
        except Broken:
            self.quick = None
            return False

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._wanted))
                queues, self._wanted = dict(self._wanted), Counter()
                self._ringing = True
            try:
                if self._ring(queues) and not self._leaving:
                    time.sleep(PAUSE)
                self._away = False
                self._rung += 1
                if self._connect and self.quick is None and self._rung > 1:
                    self.quick = self._connect()
            except Broken as error:
                self._rung = -_SELDOM
                logger.debug("single rings are not sent at once: %s", error)
            except Exception as error:
                self._note(error)
            finally:
                with self._changed:
                    self._ringing = False
                    self._changed.notify_all()

    def _note(self, error: Exception) -> None:
        if not self._away and not self._leaving:
            logger.warning(
                "the broker cannot be reached (%s): runs are stored and start a little later", error
            )
        self._away = True
