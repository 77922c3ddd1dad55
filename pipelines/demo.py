"""The pipeline `demo`: five small steps, one of which fails when asked to."""

import logging
import time
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from taskplatform import Context, Event, Pipeline, Retry, on

STEPS = ("initialize", "process", "simulate-delay", "simulate-api-call", "finalize")

log = logging.getLogger(__name__)


class DemoTask(BaseModel):
    """Input of the demo; `fail_at_step` takes a step's number, 1 to 5, or its name."""

    model_config = ConfigDict(extra="forbid")

    task_id: str = Field(min_length=1, max_length=200)
    priority: Literal[-300, 0, 300] = 0
    simulate_failure: bool = False
    fail_at_step: int | str | None = None
    delay_ms: int = Field(default=0, ge=0, le=600_000)
    force: bool = False

    @field_validator("fail_at_step", mode="before")
    @classmethod
    def _known_step(cls, value: object) -> object:
        if value is None:
            return None
        match value:
            case bool():
                pass
            case int() if 1 <= value <= len(STEPS):
                return value
            case str() if value in STEPS:
                return value
        raise ValueError(f"must be a number from 1 to {len(STEPS)} or one of {', '.join(STEPS)}")

    @property
    def failing_step(self) -> str | None:
        """Name of the step that is to fail."""
        match self.fail_at_step:
            case None:
                return "simulate-api-call" if self.simulate_failure else None
            case int(number):
                return STEPS[number - 1]
            case str(name):
                return name


class Timing(BaseModel):
    """When a step's body began, and how long it took."""

    started_at: datetime
    duration_ms: float


class Initialized(Timing):
    task_id: str
    priority: int


class Processed(Timing):
    items: int


class Delayed(Timing):
    delay_ms: int


class ApiAnswer(Timing):
    status: int
    request_id: str


class Summary(Timing):
    task_id: str
    initialize: Initialized
    process: Processed
    simulate_delay: Delayed
    simulate_api_call: ApiAnswer
    total_ms: float


class SimulatedFailure(Exception):
    """The failure that the input asked for."""


class Clock:
    """Measure one body."""

    def __init__(self) -> None:
        self.started_at = datetime.now(UTC)
        self._began = time.perf_counter()

    @property
    def duration_ms(self) -> float:
        return round((time.perf_counter() - self._began) * 1000, 3)


demo = Pipeline(
    "demo",
    input=DemoTask,
    key="task_id",
    idempotency="24h",
    retry=Retry(delays=["5m", "15m", "1h", "4h", "14h"]),
    priority="priority",
    force="force",
)


@demo.step
def initialize(input: DemoTask, ctx: Context) -> Initialized:
    clock = Clock()
    _fail_if_asked(input, ctx)
    return Initialized(
        task_id=input.task_id,
        priority=input.priority,
        started_at=clock.started_at,
        duration_ms=clock.duration_ms,
    )


@demo.step
def process(input: DemoTask, initialize: Initialized, ctx: Context) -> Processed:
    clock = Clock()
    _fail_if_asked(input, ctx)
    time.sleep(0.1)
    return Processed(
        items=len(initialize.task_id), started_at=clock.started_at, duration_ms=clock.duration_ms
    )


# Longer than the longest delay_ms.
@demo.step(timeout="15m")
def simulate_delay(input: DemoTask, ctx: Context) -> Delayed:
    clock = Clock()
    _fail_if_asked(input, ctx)
    while not ctx.cancelled:
        left = input.delay_ms / 1000 - clock.duration_ms / 1000
        if left <= 0:
            break
        time.sleep(min(left, 1))
    return Delayed(
        delay_ms=input.delay_ms, started_at=clock.started_at, duration_ms=clock.duration_ms
    )


@demo.step
def simulate_api_call(input: DemoTask, ctx: Context) -> ApiAnswer:
    clock = Clock()
    _fail_if_asked(input, ctx)
    return ApiAnswer(
        status=200,
        request_id=ctx.idempotency_key,
        started_at=clock.started_at,
        duration_ms=clock.duration_ms,
    )


@demo.step
def finalize(
    input: DemoTask,
    initialize: Initialized,
    process: Processed,
    simulate_delay: Delayed,
    simulate_api_call: ApiAnswer,
    ctx: Context,
) -> Summary:
    clock = Clock()
    _fail_if_asked(input, ctx)
    timings = (initialize, process, simulate_delay, simulate_api_call)
    return Summary(
        task_id=input.task_id,
        initialize=initialize,
        process=process,
        simulate_delay=simulate_delay,
        simulate_api_call=simulate_api_call,
        total_ms=round(sum(timing.duration_ms for timing in timings), 3),
        started_at=clock.started_at,
        duration_ms=clock.duration_ms,
    )


@on("demo/task.completed")
def log_completed(event: Event) -> None:
    log.info("demo run %s completed", event.run_id)


@on("demo/task.failed")
def log_failed(event: Event) -> None:
    log.warning("demo run %s failed: %s", event.run_id, event.data)


def _fail_if_asked(input: DemoTask, ctx: Context) -> None:
    if ctx.step == input.failing_step:
        raise SimulatedFailure(f"step {ctx.step} fails because the input asks for it")
