"""Bursts as they should be: slow, and obviously right."""

from dataclasses import dataclass, field
from uuid import UUID

PERIOD, LONGEST = 60 * 60, 150 * 60


@dataclass(slots=True)
class Run:
    """One run of a key; times in seconds."""

    created: float
    due: float
    input: int
    state: str = "waiting"
    dispatched: bool = False

    @property
    def begun(self) -> bool:
        return self.state != "waiting"


@dataclass(slots=True)
class Bursts:
    """All runs of a debounced pipeline, and which of them a key's next enqueue finds."""

    now: float = 0.0
    runs: dict[UUID, Run] = field(default_factory=dict)
    last: dict[str, UUID] = field(default_factory=dict)

    def enqueue(self, id: UUID, key: str, input: int) -> UUID:
        """The run that the call is given: `id` if it makes one."""
        found = self.last.get(key)
        if found is None or self.runs[found].begun:
            self.runs[id] = Run(self.now, self.now + PERIOD, input)
            self.last[key] = id
            return id
        run = self.runs[found]
        run.input = input
        # A burst that is over is not prolonged, whether anybody has noticed or not.
        if self.now < run.due:
            run.due = min(self.now + PERIOD, run.created + LONGEST)
        return found

    def force(self, id: UUID, input: int) -> UUID:
        """A forced run knows of no burst."""
        self.runs[id] = Run(self.now, self.now, input, dispatched=True)
        return id

    def dispatch(self) -> None:
        """What is due can be claimed."""
        for run in self.runs.values():
            run.dispatched = run.dispatched or run.due <= self.now

    def claimable(self) -> list[UUID]:
        return [id for id, run in self.runs.items() if run.dispatched and not run.begun]
