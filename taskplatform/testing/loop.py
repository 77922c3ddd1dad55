"""The event loop of a test's async steps, also when the test itself is async."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Any


class Loop:
    """One loop for all steps of a run, made when it is first needed."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, body: Coroutine[Any, Any, Any]) -> Any:
        """Execute a coroutine to its end."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        runner = self._runner
        if not _inside_of_a_loop():
            return runner.run(body)
        # A thread can run one loop at a time, and this one's is the test's own.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(copy_context().run, runner.run, body).result()

    def __enter__(self) -> "Loop":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is None:
            return
        if not _inside_of_a_loop():
            self._runner.close()
            return
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self._runner.close).result()


def _inside_of_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
