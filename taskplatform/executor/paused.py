"""Paused: which pipelines a child leaves alone."""

from collections.abc import Sequence
from time import monotonic

from taskplatform.storage import pauses
from taskplatform.storage.connection import Session

# A pause takes effect within a second.
EVERY = 0.5


class Paused:
    """The paused pipelines, as they were half a second ago at most."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._again = 0.0

    @property
    def is_old(self) -> bool:
        """Whether it has to be read again."""
        return monotonic() >= self._again

    def read(self, connection: Session) -> None:
        """Read it again."""
        self._names = pauses.names(connection)
        self._again = monotonic() + EVERY

    def __contains__(self, pipeline: str) -> bool:
        return pipeline in self._names

    def others(self, pipelines: Sequence[str], connection: Session) -> Sequence[str]:
        """Those that are not paused."""
        if self.is_old:
            self.read(connection)
        return [one for one in pipelines if one not in self] if self._names else pipelines
