"""Procrastinate: a queue in Postgres; each of five async tasks defers the next one.

Two workers with ten jobs at a time each.
"""

import asyncio
import os
from collections.abc import Iterable

import procrastinate
from procrastinate.tasks import Task

from tests.benchmarks.contender import Contender, Pace, program
from tests.benchmarks.jobs import ASLEEP, FIVE, ONE, SLEEP_SECONDS, Job, Shape
from tests.benchmarks.marks import mark
from tests.benchmarks.place import DATABASE

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ.get(DATABASE, ""))
)


@app.task(name="five")
async def five(number: int, place: int = 0) -> None:
    mark(number, place)
    if place < 4:
        await five.defer_async(number=number, place=place + 1)


@app.task(name="one")
async def one(number: int) -> None:
    mark(number, 0)


@app.task(name="asleep")
async def asleep(number: int) -> None:
    await asyncio.sleep(SLEEP_SECONDS)
    mark(number, 0)


@app.task(name="second")
async def second(number: int) -> None:
    await asyncio.sleep(1.0)
    mark(number, 0)


_TASKS: dict[str, Task] = {task.name: task for task in (five, one, asleep, second)}


class Procrastinate(Contender):
    """`task.defer` and `task.batch_defer`."""

    title = "Procrastinate"
    package = "procrastinate"
    durable = False
    shapes = frozenset({Shape.RATE, Shape.ASYNC})
    jobs = frozenset({FIVE, ONE, ASLEEP})
    pace = Pace(bulk=50, one=300, stream=45, enqueue=700, enqueue_bulk=5000, lone=5)

    def install(self) -> None:
        with app.open():
            app.schema_manager.apply_schema()

    def open(self) -> None:
        app.open()

    def close(self) -> None:
        app.close()

    def workers(self, shape: Shape) -> list[list[str]]:
        processes, jobs = (2, "10") if shape is Shape.RATE else (1, "100")
        command = program("procrastinate", "--app", f"{__name__}.app", "--log-level", "warning")
        return [[*command, "worker", "-c", jobs]] * processes

    def one(self, number: int, job: Job) -> None:
        _TASKS[job.name].defer(number=number)

    def bulk(self, numbers: Iterable[int], job: Job) -> None:
        _TASKS[job.name].batch_defer(*({"number": number} for number in numbers))
