"""Branch: one claimed branch of a run on its way through the steps."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from taskplatform.core.pipeline import Declaration
from taskplatform.core.segments import next_step
from taskplatform.core.step import Step
from taskplatform.storage.claim import Claimed


@dataclass(slots=True)
class Branch:
    """What the executor knows of a branch; `step` is the next one to execute."""

    claimed: Claimed
    declaration: Declaration[Any]
    step: Step
    failures: int
    put_off: float
    started: bool
    first_body_at: float | None = None
    step_started_at: float = 0.0
    claimed_at: float = field(default_factory=monotonic)

    @property
    def number(self) -> int:
        """The number of the next attempt at the step, from 1."""
        return self.claimed.attempts.get(self.step.name, 0) + 1

    @property
    def seconds_left(self) -> float | None:
        """What remains of the run's own time limit."""
        left = self.claimed.seconds_left
        return None if left is None else left - (monotonic() - self.claimed_at)

    def following(self) -> Step | None:
        """The step after the current one, once that has an output; None: the run is done."""
        done = {**self.claimed.versions, self.step.name: self.step.version}
        return next_step(self.declaration, done)

    def advance(self, output: bytes, name: str) -> None:
        """Take over the committed output and go on with the step of that name."""
        step = next(one for one in self.declaration.steps if one.name == name)
        self.claimed.outputs[self.step.name] = output
        self.claimed.versions[self.step.name] = self.step.version
        self.step = step
        self.failures = 0
        self.put_off = 0.0


def open_branch(claimed: Claimed, declaration: Declaration[Any]) -> Branch | None:
    """Find where a claimed branch stands by the code here; None when no step is left to do."""
    step = next_step(declaration, claimed.versions)
    if step is None:
        return None
    same = step.name == claimed.step
    return Branch(
        claimed,
        declaration,
        step,
        failures=claimed.failures if same else 0,
        put_off=claimed.put_off if same else 0.0,
        started=claimed.started,
    )
