"""Executing a coroutine on the process's loop, until it ends or has to."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from taskplatform.errors import Interrupted, TimeLimitExceeded
from taskplatform.executor.loop import running_loop
from taskplatform.executor.slot import Slot

logger = logging.getLogger(__name__)

# How often it is looked whether a body is still wanted.
LOOK = 0.1
# What a cancelled body may take to clean up, where nobody can kill it.
CLEAN_UP = 1.0

Silence = Callable[[], float]


class Unwanted(BaseException):
    """The run was cancelled: nobody wants the body's result."""


class AsyncBody:
    """One body on the loop; it is cancelled when its time is over or nobody wants it any more."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        *,
        slot: Slot,
        seconds: float,
        silence: Silence | None,
        bounded: bool,
        ended: Callable[[], object],
        shared: bool = False,
    ) -> None:
        """`silence` tells for how long the body may be silent, and raises when that is over.

        `bounded`: a body that ignores its cancellation is left behind, since nobody can kill it.
        `ended` is called on the loop when there is a value to be had, of one left behind perhaps
        again when it does end. `shared`: it is that of several runs, of which one may be cancelled.
        """
        self._coroutine = coroutine
        self._slot = slot
        self._seconds = seconds
        self._silence = silence
        self._bounded = bounded
        self._until = monotonic() + seconds
        self._loop = running_loop()
        self._context = contextvars.copy_context()
        self._told = ended
        self._shared = shared
        self._task: asyncio.Task[Any] | None = None
        self._reason: BaseException | None = None

    def start(self) -> None:
        """Start the body; to be called on the loop."""
        self._task = self._loop.create_task(self._coroutine, context=self._context)
        self._task.add_done_callback(self._ended)
        self._look()

    def value(self) -> Any:
        """What the body returned.

        Raises what it raised, or TimeLimitExceeded, Interrupted or Unwanted if it was cancelled, or
        should have ended and goes on.
        """
        task = self._task
        if task is None or not task.done():
            reason = self._reason or self._out_of_time()
            logger.warning("a body goes on that was told to end: %s", reason)
            raise reason
        try:
            return task.result()
        except BaseException as error:
            if self._reason is not None:
                raise self._reason from error
            raise

    def is_overdue(self) -> bool:
        """Whether the body should have ended long ago: another one blocks the loop, or itself."""
        return monotonic() > self._until + 2 * CLEAN_UP

    def _look(self) -> None:
        assert self._task is not None
        if self._task.done():
            return
        try:
            wait = self._left()
        except BaseException as reason:
            self._reason = reason
            self._task.cancel()
            if self._bounded:
                self._loop.call_later(CLEAN_UP, self._told)
            return
        self._loop.call_later(min(wait, LOOK), self._look)

    def _left(self) -> float:
        if self._slot.interrupt:
            raise Interrupted
        if self._slot.cancelled and not self._shared:
            raise Unwanted
        left = self._until - monotonic()
        if left <= 0:
            raise self._out_of_time()
        return left if self._silence is None else min(left, self._silence())

    def _out_of_time(self) -> BaseException:
        return TimeLimitExceeded(f"the attempt ran longer than its timeout of {self._seconds:g} s")

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            # Read here, too: of one that was left behind nobody else asks.
            task.exception()
        self._told()


def wait_for(
    coroutine: Coroutine[Any, Any, Any],
    *,
    slot: Slot,
    seconds: float,
    silence: Silence | None,
    bounded: bool,
    shared: bool,
) -> Any:
    """Execute a coroutine as an AsyncBody while this thread waits; raises as its value does."""
    done = threading.Event()
    body = AsyncBody(
        coroutine,
        slot=slot,
        seconds=seconds,
        silence=silence,
        bounded=bounded,
        ended=done.set,
        shared=shared,
    )
    running_loop().call_soon_threadsafe(body.start)
    # A loop that a body blocks cannot even cancel: hence a limit of the waiting itself.
    done.wait(seconds + 2 * CLEAN_UP if bounded else None)
    return body.value()
