"""The event loop of async bodies: one a process, in a thread of its own, kept as long as that.

What a body keeps for its loop (an HTTP client, a connection pool) is usable in the next step.
"""

import asyncio
import os
import threading
from contextlib import suppress

_loop: asyncio.AbstractEventLoop | None = None
_making = threading.Lock()


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, started when it is first asked for."""
    global _loop
    with _making:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(
                target=_run, args=(_loop,), name="taskplatform-loop", daemon=True
            ).start()
        return _loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:
        # A body that calls sys.exit() ends its task, and asyncio lets that out of the loop as well.
        with suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()


def _forget() -> None:
    # The thread stayed behind in the parent: a forked process has a loop of its own.
    global _loop, _making
    _loop, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
