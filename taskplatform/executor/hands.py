"""Hands: the threads that execute what blocks, no more than are needed at once."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

# A thread without a job leaves after so many seconds.
_IDLE = 30.0

Job = Callable[[], object]


class Hands:
    """Executes jobs at once, each in a thread that has none; jobs must not raise.

    Nobody waits for these threads at the end of the process: a body that does not end must not keep
    its worker alive.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0

    def do(self, job: Job) -> None:
        """Execute the job in another thread."""
        with self._lock:
            new = self._free == 0
            if not new:
                self._free -= 1
        self._jobs.put(job)
        if new:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    # Otherwise a job is on its way that counts on this thread.
                    if self._free:
                        self._free -= 1
                        return
                continue
            job()
            # What it had may be large, and the next one may not come for long.
            del job
            with self._lock:
                self._free += 1
