"""Acquiring a grant outside of steps: waiting in line in a process that is no worker."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from types import TracebackType

from taskplatform.client.session import call
from taskplatform.core.lessons import GRANTS_ALL
from taskplatform.errors import RetryAfter, Throttled, Unavailable
from taskplatform.storage import reservations
from taskplatform.storage.throttles import (
    VALID_SHARE,
    Refusal,
    Wanted,
    ask,
    close,
    give_back,
)

# Whoever is before one may give up: one looks again before the time that is known.
_LOOK_AGAIN = 1.0
_LEAST = 0.002


class Acquired:
    """`with` or `async with`: the block begins with a grant, or Throttled is raised."""

    def __init__(self, wanted: Wanted, timeout: float | None) -> None:
        self._wanted = wanted
        self._until = None if timeout is None else monotonic() + timeout
        self._place: int | None = None

    def __enter__(self) -> None:
        """Wait for a grant. Raises Throttled and Unavailable."""
        try:
            for pause in self._pauses():
                time.sleep(pause)
        except BaseException:
            self._give_up()
            raise

    async def __aenter__(self) -> None:
        """The same, while the loop goes on."""
        pauses = self._pauses()
        try:
            while (pause := await asyncio.to_thread(next, pauses, None)) is not None:
                await asyncio.sleep(pause)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._give_up))
            raise

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        """A RetryAfter holds everybody back."""
        if isinstance(error, RetryAfter):
            why, seconds = str(error), error.seconds
            call(lambda connection, _: close(connection, self._wanted, seconds, why))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """The same."""
        await asyncio.to_thread(self.__exit__, kind, error, None)

    def _pauses(self) -> Iterator[float]:
        if GRANTS_ALL.get():
            return
        while (pause := self._look()) is not None:
            yield pause

    def _look(self) -> float | None:
        wanted, place = self._wanted, self._place
        asked = monotonic()
        answer = call(lambda connection, _: ask(connection, [wanted], reservation=place))
        if isinstance(answer, Refusal):
            return self._stay(answer.seconds)
        if monotonic() - asked - answer.waited < wanted.window * VALID_SHARE:
            self._place = None
            return None
        self._keep(0.0)
        call(lambda connection, _: give_back(connection, [wanted], answer))
        return 0.0

    def _stay(self, seconds: float) -> float:
        left = float("inf") if self._until is None else self._until - monotonic()
        if seconds > left or seconds == float("inf"):
            raise Throttled(self._wanted.name, seconds)
        pause = max(_LEAST, min(seconds, max(_LOOK_AGAIN, seconds / 4)))
        self._keep(pause)
        return pause

    def _keep(self, seconds: float) -> None:
        place, what = self._place, (self._wanted.gate, self._wanted.weight, seconds)
        if place is None:
            self._place = call(lambda connection, _: reservations.make(connection, *what))
        else:
            call(lambda connection, _: reservations.keep(connection, place, *what))

    def _give_up(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            with suppress(Unavailable):
                call(lambda connection, _: reservations.end(connection, place))
