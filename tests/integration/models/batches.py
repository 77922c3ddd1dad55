"""Batches as they should be: slow, and obviously right."""

from dataclasses import dataclass, field
from uuid import UUID

SIZE, TIMEOUT = 3, 60 * 60.0


@dataclass(slots=True)
class Batches:
    """Who waits for whose batch, in the order of the calls; (run, since when, in seconds)."""

    now: float = 0.0
    waiting: dict[str, list[tuple[UUID, float]]] = field(default_factory=dict)

    def enqueue(self, key: str, runs: list[UUID]) -> None:
        self.waiting.setdefault(key, []).extend((one, self.now) for one in runs)

    def cancel(self, run: UUID) -> None:
        for line in self.waiting.values():
            line[:] = [one for one in line if one[0] != run]

    def execute(self) -> list[frozenset[UUID]]:
        """The batches that a worker without anything else to do executes now."""
        made = []
        for line in self.waiting.values():
            while len(line) >= SIZE or (line and line[0][1] + TIMEOUT <= self.now):
                made.append(frozenset(run for run, _ in line[:SIZE]))
                del line[:SIZE]
        return made

    def open(self) -> list[UUID]:
        return [run for line in self.waiting.values() for run, _ in line]
