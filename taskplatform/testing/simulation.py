"""A run in process: the platform's own decisions, on a clock that nobody waits for."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from taskplatform.core.context import Context
from taskplatform.core.ids import uuid7
from taskplatform.core.pipeline import Declaration
from taskplatform.core.segments import next_compensation, next_stage
from taskplatform.core.shapes import Kind
from taskplatform.core.step import Step
from taskplatform.testing.attempts import Execution, Limits, attempts
from taskplatform.testing.bodies import attempt
from taskplatform.testing.ends import Failing, Parked, Stopped
from taskplatform.testing.failures import Failures, Injected, Plan
from taskplatform.testing.given import Given
from taskplatform.testing.loop import Loop
from taskplatform.testing.markers import Cancelled, TimedOut
from taskplatform.testing.middlewares import attended
from taskplatform.testing.record import TestRun, TestStep
from taskplatform.testing.side_by_side import Branch, Clock, side_by_side
from taskplatform.testing.transactions import connection_for, in_transaction

Shape = Callable[["Simulation", Step], Branch]


@dataclass(frozen=True, slots=True)
class World:
    """What a run and its children have in common. Times in seconds."""

    given: Given
    clock: Clock
    loop: Loop
    put_off_limit: float
    runs: "list[Simulation]" = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Turn:
    """One attempt at one step of a run."""

    run: "Simulation"
    step: Step
    record: TestStep
    number: int


@dataclass(slots=True)
class Simulation:
    """One run: what is stored for it, and how it goes on."""

    declaration: Declaration[Any]
    input: bytes
    world: World
    plan: Plan
    shapes: Mapping[Kind, Shape]
    id: UUID = field(default_factory=uuid7)
    outputs: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    records: dict[str, TestStep] = field(default_factory=dict)
    children: dict[str, TestRun[Any]] = field(default_factory=dict)
    used_events: set[int] = field(default_factory=set)
    end: Stopped | None = None
    failing: Failing | None = None
    began: float = 0.0

    def play(self) -> Branch:
        """Take the run to its end, in one way or another."""
        self.began = self.world.clock.now
        self.world.runs.append(self)
        self.records = {step.name: TestStep(step.name) for step in self.declaration.steps}
        try:
            while stage := next_stage(self.declaration, self.versions):
                branches = [self.shapes[step.kind](self, step) for step in stage]
                yield from side_by_side(branches, self.world.clock)
        except Failing as error:
            self.end = self.failing = error
            yield from self._undo()
        except Stopped as error:
            self.end = error

    def attempted(
        self, step: Step, record: TestStep, execute: Callable[[int], Execution]
    ) -> Generator[float, None, bytes]:
        """The attempts at what `execute` does, by the step's policy."""
        limit = None if self.failing else self.declaration.run_timeout
        deadline = None if limit is None else self.began + limit
        limits = Limits(self.world.clock, self.world.put_off_limit, deadline)
        try:
            output = yield from attempts(limits, step, record, execute)
        except Stopped as end:
            record.status = end.status
            raise
        record.status = "succeeded"
        return output

    def body(
        self, step: Step, record: TestStep, item: bytes | None = None, index: int | None = None
    ) -> Generator[float, None, bytes]:
        """The attempts at a step's function, at an item of it, or at a compensation."""
        return self.attempted(
            step, record, lambda number: self.call(step, record, number, item, index)
        )

    def call(
        self,
        step: Step,
        record: TestStep,
        number: int,
        item: bytes | None = None,
        index: int | None = None,
    ) -> Execution:
        """One execution of a step's function. Raises Unreadable."""
        injected = self._injected(record.name, number)
        ctx = self._context(step, record, number, injected)
        # A batch is one of this run alone.
        given = self.input if step.batch is None else [step.read_input(self.input)]
        arguments = step.bind(given, self.outputs, ctx, item, index)
        if isinstance(injected, TimedOut):
            yield self.world.clock.now + step.timeout
        execute = partial(attempt, step, arguments, injected, self.world.loop)
        if step.transactional:
            execute = partial(in_transaction, ctx.connection, execute)
        return attended(self, step, number, execute)

    def store(self, step: Step, output: bytes) -> None:
        """Keep a step's output."""
        self.outputs[step.name] = output
        self.versions[step.name] = step.version

    def child(
        self, declaration: Declaration[Any], input: bytes, failures: Failures
    ) -> "Simulation":
        """A run of another pipeline in the same world."""
        plan = Plan(declaration, failures)
        return Simulation(declaration, input, self.world, plan, self.shapes)

    def _undo(self) -> Branch:
        try:
            while undo := next_compensation(self.declaration, self.versions):
                record = self.records.setdefault(undo.name, TestStep(undo.name))
                output = yield from self.body(undo, record)
                self.store(undo, output)
        except Failing as error:
            failure = error.failure
            why = f"compensation {error.step} failed: {failure.type}: {failure.message}"
            self.end = Parked(error.step, why, error.cause)
        except Stopped as error:
            self.end = error

    def _injected(self, name: str, number: int) -> Injected | None:
        mapped, bracket, _ = name.partition("[")
        return self.plan.of(name, number, mapped if bracket else None)

    def _context(
        self, step: Step, record: TestStep, number: int, injected: Injected | None
    ) -> Context:
        connection = partial(connection_for, step, self.world.given.connection)
        return Context(
            run_id=self.id,
            step=record.name,
            attempt=number,
            progress=lambda done, total: record.progress.append((done, total)),
            cancelled=lambda: isinstance(injected, Cancelled),
            connection=connection if step.transactional else None,
        )
