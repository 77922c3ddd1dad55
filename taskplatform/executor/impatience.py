"""Impatience: committing what has ended while a body takes longer than expected."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Outcomes that have waited this long are committed while the next body still runs.
PATIENCE = 0.01
# A thread that has found no batch for so many looks ends; a busy child has the same one for all.
_LOOKS = 50

Commit = Callable[[float], None]


class Impatience:
    """Commits the outcomes of a batch while one of its bodies takes longer than expected."""

    def __init__(self) -> None:
        # Held while the thread commits, so that nothing is committed after its batch.
        self._lock = threading.Lock()
        self._commit: Commit | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def during(self, commit: Commit) -> Iterator[None]:
        """Be impatient; `commit` commits what has waited longer than so many seconds."""
        with self._lock:
            self._commit, self._error = commit, None
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="batch-commit", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._commit, error = None, self._error
        if error is not None:
            raise error

    def _watch(self) -> None:
        looks = 0
        while looks < _LOOKS:
            time.sleep(PATIENCE)
            with self._lock:
                looks += 1
                if self._commit is not None:
                    looks = 0
                    self._look(self._commit)
                elif looks == _LOOKS:
                    self._thread = None

    def _look(self, commit: Commit) -> None:
        try:
            commit(PATIENCE)
        except BaseException as error:
            self._error = error
            # The batch ends with it.
            self._commit = None
