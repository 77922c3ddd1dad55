"""A throttle, as the application declares it, asks it and teaches it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from taskplatform.client.acquiring import Acquired
from taskplatform.client.session import call
from taskplatform.core import throttle as core
from taskplatform.core.duration import Duration, seconds
from taskplatform.core.lessons import LESSONS, Lesson
from taskplatform.core.rate_headers import REFUSED, closed_for
from taskplatform.errors import InvalidInput, RetryAfter
from taskplatform.storage.throttles import Wanted, close


class Throttle(core.Throttle):
    """At most `limit` starts in any window of `per`, over all workers and everybody who asks.

    With `key`, a field of the input or a function of it, each value has its own limit. `weight`,
    a number, a field or a function of the input, is what one start takes of it. At `pause_at`, a
    share of the limit, no more starts are granted.
    """

    __slots__ = ()

    def acquire(
        self, *, timeout: Duration | None = None, weight: int = 1, scope: str = ""
    ) -> Acquired:
        """Wait for a grant of the same budget outside of a step: `with` or `async with`.

        Who waits here goes before work that waits. Raises InvalidInput, and in the `with`
        Throttled, at once if it is known that the time will not do, and Unavailable.
        """
        if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= self.limit:
            raise InvalidInput(
                f"throttle '{self.name}': weight={weight!r}: give a whole number from 1 to "
                f"{self.limit}"
            )
        patience = None if timeout is None else seconds(timeout)
        return Acquired(self._wanted(self._scope(scope), weight), patience)

    def learn(
        self, headers: Mapping[str, str], status: int | None = None, *, scope: str | None = None
    ) -> float:
        """Hold everybody back for as long as the answer's headers say; so many seconds.

        Understands Retry-After, X-RateLimit-* and RateLimit-*. In a step the scope is that of its
        input. Raises RetryAfter when the API refused (429, 503): in a step the work is put off,
        and no retry is used.
        """
        held = closed_for(headers, status, datetime.now(UTC), self.per)
        if held is None:
            return 0.0
        refused = status in REFUSED
        why = f"the API answered {status}" if refused else "the API's own limit is used up"
        lessons = LESSONS.get()
        if lessons is not None:
            lessons.append(Lesson(self.name, scope, held, why))
        else:
            wanted = self._wanted(scope or "", 1)
            call(lambda connection, _: close(connection, wanted, held, why))
        if refused:
            raise RetryAfter(held, f"{why}: try again in {held:g} s")
        return held

    def _scope(self, scope: str) -> str:
        if (self.key is None) is not (scope == ""):
            raise InvalidInput(
                f"throttle '{self.name}': "
                + ("give scope=, it has a key" if self.key else "it has no key, so no scope")
            )
        return scope

    def _wanted(self, scope: str, weight: int) -> Wanted:
        return Wanted(self.name, scope, self.limit, self.per, weight, self.pause_at)
