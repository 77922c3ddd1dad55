"""A coroutine that puts something around each of its steps on the event loop."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Resumed(Coroutine[Any, Any, Any]):
    """Calls `enter` whenever the coroutine goes on and `leave` whenever it waits.

    Celery keeps its current task per thread, and all async bodies of a process share one: without
    this each would see whichever started last.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        enter: Callable[[], object],
        leave: Callable[[], object],
    ) -> None:
        self._coroutine = coroutine
        self._enter = enter
        self._leave = leave

    def send(self, value: Any) -> Any:
        """Go on with a value."""
        self._enter()
        try:
            return self._coroutine.send(value)
        finally:
            self._leave()

    def throw(self, *error: Any) -> Any:
        """Go on with an exception."""
        self._enter()
        try:
            return self._coroutine.throw(*error)
        finally:
            self._leave()

    def close(self) -> None:
        """End it where it waits."""
        self._enter()
        try:
            self._coroutine.close()
        finally:
            self._leave()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        # Libraries look at cr_frame and the like to see how far a task has come.
        return getattr(self._coroutine, name)
