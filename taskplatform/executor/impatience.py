"""Impatience: committing what has ended while a body takes longer than expected."""

import threading
from collections.abc import Callable

# Outcomes that have waited this long are committed while the next body still runs.
PATIENCE = 0.01


class Impatience:
    """Commits the outcomes of a batch while one of its bodies takes longer than expected."""

    def __init__(self, commit: Callable[[float], None]) -> None:
        """`commit` commits what has waited longer than so many seconds."""
        self._commit = commit
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="batch-commit", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _watch(self) -> None:
        try:
            while not self._done.wait(PATIENCE):
                self._commit(PATIENCE)
        except BaseException as error:
            self._error = error
