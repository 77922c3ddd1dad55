"""Branch: one claimed branch of a run on its way through the steps."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from taskplatform.core.outcome import Outcome, Succeeded
from taskplatform.core.pipeline import Declaration
from taskplatform.core.redaction import redact
from taskplatform.core.sealing import secrets_in
from taskplatform.core.segments import next_compensation, next_stage
from taskplatform.core.shapes import Kind
from taskplatform.core.stages import Stage
from taskplatform.core.step import Fresh, Step
from taskplatform.storage.claim import Claimed
from taskplatform.storage.settlement import Settlement

# What is larger is not kept in memory to be read once.
_LARGEST_FRESH = 4096


@dataclass(slots=True)
class Branch:
    """What the executor knows of a branch; `step` is the next one to execute.

    `place` is where its stage is, if all those before it and none after it have outputs; else -1.
    `company` are the others of its batch, while it leads one, `came_to` is what one of them did.
    `raised` is what ended the last body of a step with breakers.
    """

    claimed: Claimed
    declaration: Declaration[Any]
    step: Step
    failures: int
    put_off: float
    started: bool
    place: int
    rested: bool = False
    first_body_at: float | None = None
    step_started_at: float = 0.0
    step_ended_at: float = 0.0
    progress: tuple[float | None, float | None] = (None, None)
    log: str | None = None
    company: "list[Branch]" = field(default_factory=list)
    came_to: Outcome | Settlement | None = None
    raised: BaseException | None = None
    claimed_at: float = field(default_factory=monotonic)
    fresh: Fresh | None = None
    _run: str = ""

    @property
    def run(self) -> str:
        """The run's id as text, made once."""
        text = self._run
        if not text:
            self._run = text = str(self.claimed.run_id)
        return text

    @property
    def label(self) -> str:
        """The name under which the attempts are kept: of the step, or of the item."""
        place = self.claimed.position
        return self.step.name if place is None else f"{self.step.name}[{place}]"

    @property
    def number(self) -> int:
        """The number of the next attempt at the step, from 1."""
        attempts = self.claimed.attempts
        return attempts.get(self.label, 0) + 1 if attempts else 1

    @property
    def seconds_left(self) -> float | None:
        """What remains of the run's own time limit; compensations have none."""
        left = self.claimed.seconds_left
        if left is None or self.claimed.failing:
            return None
        return left - (monotonic() - self.claimed_at)

    def secrets(self) -> tuple[str, ...]:
        """The secret texts that the body is given, or may be."""
        claimed = self.claimed
        others = (one.claimed.input for one in self.company)
        return secrets_in(claimed.input, claimed.item, *claimed.outputs.values(), *others)

    def conceal(self, text: str) -> str:
        """The text without secrets."""
        return redact(text, self.secrets())

    def following(self) -> Stage:
        """The stage after the current step, once that has an output; empty: the run is done."""
        stages = self.declaration.stages
        if self.place >= 0:
            return stages[self.place + 1] if self.place + 1 < len(stages) else ()
        done = {**self.claimed.versions, self.step.name: self.step.version}
        if self.claimed.failing:
            undo = next_compensation(self.declaration, done)
            return () if undo is None else (undo,)
        return next_stage(self.declaration, done)

    def advance(self, made: Succeeded, name: str) -> None:
        """Take over the committed output and go on with the step of that name."""
        step, claimed, done = self.declaration.find(name), self.claimed, self.step
        assert step is not None
        claimed.outputs[done.name] = output = made.output
        claimed.versions[done.name] = done.version
        if self.place >= 0:
            self.place += 1
        keep = made.value is not None and len(output) < _LARGEST_FRESH
        self.fresh = Fresh(done, made.value) if keep else None
        self.step = step
        self.failures = 0
        self.put_off = 0.0
        self.rested = False


def stage_of(claimed: Claimed, declaration: Declaration[Any]) -> Stage:
    """What a claimed row has to do by the code here; empty: nothing more."""
    if not claimed.branch:
        if claimed.failing:
            undo = next_compensation(declaration, claimed.versions)
            return () if undo is None else (undo,)
        return next_stage(declaration, claimed.versions)
    step = declaration.find(claimed.step)
    if step is None:
        return ()
    if claimed.position is not None:
        return (step,) if step.kind is Kind.MAP and claimed.item is not None else ()
    return () if claimed.versions.get(step.name) == step.version else (step,)


def open_branch(claimed: Claimed, declaration: Declaration[Any]) -> Branch | None:
    """Find where a claimed branch stands by the code here; None unless it is at one step."""
    stage = stage_of(claimed, declaration)
    if len(stage) != 1:
        return None
    (step,) = stage
    same = step.name == claimed.step
    return Branch(
        claimed,
        declaration,
        step,
        failures=claimed.failures if same else 0,
        put_off=claimed.put_off if same else 0.0,
        started=claimed.started,
        place=_place(claimed, declaration, step),
        rested=same and claimed.rest is not None,
    )


def _place(claimed: Claimed, declaration: Declaration[Any], step: Step) -> int:
    """Where the step is in a run that has gone straight to it, by the code as it is now."""
    if claimed.branch or claimed.failing:
        return -1
    done = claimed.versions
    before = 0
    for place, stage in enumerate(declaration.stages):
        if stage[0] is step:
            return place if before == len(done) else -1
        for one in stage:
            if one.name not in done:
                return -1
            before += 1
    return -1
