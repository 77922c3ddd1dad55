"""What was seen. Times are nanoseconds of the machine's monotonic clock."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Execution:
    """One execution of a body, as it wrote it down; without an end it raised, or was cut off."""

    run: str
    pipeline: str
    step: str
    attempt: int
    epoch: int
    pid: int
    start: int
    end: int | None = None
    value: str | None = None
    effects: int = 0
    # The process whose pool this one is in.
    worker: int = 0
    # Of how many at a time it is one, by the name of the limit.
    under: dict[str, int] = field(default_factory=dict)

    @property
    def member(self) -> bool:
        """Whether it is that of a member of a batch, whose epoch the body does not know."""
        return not self.epoch


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client asked for, and what it was told: ok, fail or unknown."""

    do: str
    request: str | None
    run: str | None
    key: str | None
    told: str
    # The fingerprint of what the run has to come to for this caller, if nobody calls after him.
    wants: str | None = None
    pipeline: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to whom, and from when to when."""

    kind: str
    pids: frozenset[int]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the outside API saw."""

    limit: str
    run: str
    step: str
    at: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was stored in the end."""

    id: str
    pipeline: str
    key: str | None
    owns_key: bool
    request: str | None
    status: str
    reason: str | None
    made_by: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """A step result as it was stored in the end."""

    run: str
    step: str
    fingerprint: str
    attempt: int
    epoch: int
    reused: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """One writing of a step result; `order` is that in which locks were granted."""

    run: str
    step: str
    epoch: int
    fingerprint: str
    at: int
    order: int
    reused: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """A branch of a run was given to somebody, under a new epoch."""

    run: str
    branch: str
    epoch: int
    order: int


@dataclass(frozen=True, slots=True)
class Change:
    """A run changed its state."""

    run: str
    status: str
    at: int
    order: int


@dataclass(slots=True)
class History:
    """All of it.

    `attempts` are (run, step, number, epoch) of those that did not succeed, `lost_attempts` those
    of them whose process did not live to tell. `least` is how many faults were meant to be done at
    the least, `left_out` which could not be done, and why, `restarts` how many workers had to be
    started again that no fault had ended, and `concurrency` how many bodies a worker may execute
    at once; 0: nobody said.
    """

    seed: int | None = None
    least: int = 0
    restarts: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    concurrency: int = 0
    executions: list[Execution] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    attempts: set[tuple[str, str, int, int]] = field(default_factory=set)
    lost_attempts: set[tuple[str, str, int, int]] = field(default_factory=set)
    commits: list[Commit] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    plans: dict[str, list[list[str]]] = field(default_factory=dict)
    limits: dict[str, tuple[int, float]] = field(default_factory=dict)
    held: int = 0
    stuck: list[str] = field(default_factory=list)
    refused: int = 0
    deadlocks: int = 0
    torn: int = 0
    clock_drift: float = 0.0

    def has_body(self, run: str, step: str) -> bool:
        """Whether a body returns the step's output; of a map, that of each item."""
        known = self.runs.get(run)
        plan = self.plans.get(known.pipeline, []) if known else []
        return any(step.partition("[")[0] + "[]" * ("[" in step) in stage for stage in plan)


@dataclass(frozen=True, slots=True)
class Violation:
    """What may not be, and where it was seen."""

    invariant: str
    run: str
    step: str
    what: str
