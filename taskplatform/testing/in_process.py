"""Execute a pipeline in this process, without any server."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from taskplatform.core.event import Event
from taskplatform.core.handlers import handlers as handlers_of
from taskplatform.core.ids import uuid7
from taskplatform.core.lessons import GRANTS_ALL, LESSONS
from taskplatform.core.pipeline import Declaration, In, Out
from taskplatform.core.sealing import opened, sealed_by
from taskplatform.settings import get_settings
from taskplatform.testing import given as given_by
from taskplatform.testing.failures import Failures, Plan
from taskplatform.testing.given import Children, Events, Given
from taskplatform.testing.loop import Loop
from taskplatform.testing.record import TestRun
from taskplatform.testing.report import events as report_events
from taskplatform.testing.report import report
from taskplatform.testing.shapes import SHAPES
from taskplatform.testing.side_by_side import Clock, play
from taskplatform.testing.simulation import Simulation, World
from taskplatform.vault import Keys


def run(
    pipeline: Declaration[In, Out],
    input: object,
    *,
    failures: Failures | None = None,
    events: Events | None = None,
    children: Children | None = None,
    connection: object = None,
    handlers: bool = False,
    now: datetime | None = None,
) -> TestRun[Out]:
    """Execute a run of `pipeline` to its end, here and at once.

    Delays, sleeps and timeouts pass without waiting; every value goes through JSON; time limits
    of bodies, throttles, concurrency limits and breakers do not hold. `failures` by step and
    attempt, `events` for its waits, `children` instead of runs of other pipelines, `connection`
    for transactional steps. `handlers=True` executes the handlers of its events, too. `now` is
    when it starts.

    Raises InvalidInput, ValueError for what does not fit the pipeline, and NotGiven.
    """
    world_of = Given(
        () if events is None else events,
        {} if children is None else children,
        connection,
        handlers,
        datetime.now(UTC) if now is None else now,
    )
    encoded = input.encode(errors="replace") if isinstance(input, str) else input
    with sealed_by(Keys.of_its_own()), _unlimited(), Loop() as loop:
        given_by.check(world_of, pipeline)
        plan = Plan(pipeline, failures)
        model, data = pipeline.accept(encoded)
        for limit in pipeline.concurrency:
            limit.scope(model)
        world = World(world_of, Clock(), loop, get_settings().put_off_limit)
        simulated = Simulation(pipeline, data, world, plan, SHAPES)
        play(simulated.play(), world.clock)
        reported: TestRun[Out] = report(simulated)
        if handlers:
            reported.handlers = [_handled(event, one, world) for event, one in _due(world)]
        return reported


@contextmanager
def _unlimited() -> Iterator[None]:
    """No throttle asks a database, and what bodies learn of one is nobody's business."""
    lessons, grants = LESSONS.set([]), GRANTS_ALL.set(True)
    try:
        yield
    finally:
        LESSONS.reset(lessons)
        GRANTS_ALL.reset(grants)


def _due(world: World) -> list[tuple[Event, Declaration[Any]]]:
    given = world.given
    sent = [] if isinstance(given.events, Mapping) else given.events
    happened = [
        Event(id=uuid7(), name=name, at=given.now, data=from_json(opened(given_by.encoded(data))))
        for name, data in sent
    ]
    happened += [event for one in world.runs for event in report_events(one)]
    return [(event, one) for event in happened for one in handlers_of(event.name)]


def _handled(event: Event, declaration: Declaration[Any], world: World) -> TestRun[Any]:
    data = event.model_dump_json().encode()
    simulated = Simulation(declaration, data, world, Plan(declaration, None), SHAPES)
    play(simulated.play(), world.clock)
    return report(simulated)
