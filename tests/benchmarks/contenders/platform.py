"""taskplatform: durable, typed, validated; every step committed before the next one starts."""

import asyncio
import os
import time
from collections.abc import Iterable
from uuid import UUID

import psycopg
from pydantic import BaseModel

from taskplatform import Pipeline, enqueue_many
from tests.benchmarks.contender import Contender, Pace, celery_worker
from tests.benchmarks.jobs import ASLEEP, FIVE, ONE, SECOND, SLEEP, SLEEP_SECONDS, Job, Shape
from tests.benchmarks.marks import mark
from tests.benchmarks.place import Place
from tests.benchmarks.waiting import wait_for

# How often it is asked, after the last body, whether the run's end is committed: on the platform's
# account.
_ASK = 0.00005


class Number(BaseModel):
    """Which run it is, from 0."""

    number: int


five = Pipeline("five", input=Number)
one = Pipeline("one", input=Number)
sleep = Pipeline("sleep", input=Number)
asleep = Pipeline("asleep", input=Number)
second = Pipeline("second", input=Number)
PIPELINES = {pipeline.name: pipeline for pipeline in (five, one, sleep, asleep, second)}


@five.step(name="first")
def _first(input: Number) -> Number:
    mark(input.number, 0)
    return input


@five.step(name="second")
def _second(first: Number) -> Number:
    mark(first.number, 1)
    return first


@five.step(name="third")
def _third(second: Number) -> Number:
    mark(second.number, 2)
    return second


@five.step(name="fourth")
def _fourth(third: Number) -> Number:
    mark(third.number, 3)
    return third


@five.step(name="fifth")
def _fifth(fourth: Number) -> Number:
    mark(fourth.number, 4)
    return fourth


@one.step(name="only")
def _only(input: Number) -> Number:
    mark(input.number, 0)
    return input


@sleep.step(name="only")
def _sleep(input: Number) -> Number:
    time.sleep(SLEEP_SECONDS)
    mark(input.number, 0)
    return input


@asleep.step(name="only")
async def _asleep(input: Number) -> Number:
    await asyncio.sleep(SLEEP_SECONDS)
    mark(input.number, 0)
    return input


@second.step(name="only")
async def _awaits_a_second(input: Number) -> Number:
    await asyncio.sleep(1.0)
    mark(input.number, 0)
    return input


def environment(place: Place, *modules: str) -> dict[str, str]:
    """The platform's settings, and no others."""
    for name in [name for name in os.environ if name.startswith("TASKPLATFORM_")]:
        del os.environ[name]
    return {
        "TASKPLATFORM_DATABASE_URL": place.database_url,
        "TASKPLATFORM_BROKER_URL": place.broker_url,
        "TASKPLATFORM_PIPELINES": ",".join(modules),
    }


def supervised(place: Place) -> None:
    """Wait until the worker's supervisor has reported; until then it loads, on the same cores."""
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        wait_for(
            lambda: connection.execute("SELECT FROM taskplatform.workers").fetchone() is not None,
            60.0,
            "the supervisor was not ready",
            0.05,
        )


class Platform(Contender):
    """A stock Celery worker with the platform's app."""

    title = "taskplatform"
    package = "taskplatform"
    durable = True
    shapes = frozenset(Shape)
    jobs = frozenset({FIVE, ONE, SLEEP, ASLEEP, SECOND})
    pace = Pace(bulk=3500, one=6000, stream=600, enqueue=1200, enqueue_bulk=12000, lone=80)

    def environment(self) -> dict[str, str]:
        return environment(self.place, __name__)

    def open(self) -> None:
        self._connection = psycopg.connect(self.place.database_url, autocommit=True)
        # However many others wait: only what is ready or held is looked for, by its index.
        self._connection.execute("SET enable_seqscan = off")
        self._floor = UUID(int=0)

    def close(self) -> None:
        self._connection.close()

    def workers(self, shape: Shape) -> list[list[str]]:
        return celery_worker("taskplatform", shape)

    def started(self) -> None:
        supervised(self.place)

    def one(self, number: int, job: Job) -> None:
        PIPELINES[job.name].enqueue(Number(number=number))

    def bulk(self, numbers: Iterable[int], job: Job) -> None:
        enqueue_many(PIPELINES[job.name], [Number(number=number) for number in numbers])

    def ended_ns(self) -> int:
        # Done is what another connection sees as committed; before the last body nobody asks.
        # Not runs.finished_at: that is taken before the commit.
        while True:
            row = self._connection.execute(
                "SELECT EXISTS (SELECT FROM taskplatform.work WHERE queue = 'taskplatform'"
                "               AND holder IS NULL AND due_at IS NULL)"
                "    OR EXISTS (SELECT FROM taskplatform.work WHERE holder IS NOT NULL)"
            )
            if row.fetchone() == (False,):
                return time.monotonic_ns()
            time.sleep(_ASK)

    def begin(self) -> None:
        # Ids rise with the clock, in milliseconds.
        time.sleep(0.002)
        self._floor = UUID(int=(time.time_ns() // 1_000_000) << 80)

    def problem(self, runs: int, job: Job) -> str | None:
        row = self._connection.execute(
            "SELECT (SELECT count(*) FROM taskplatform.runs"
            "        WHERE id > %(floor)s AND status = 'succeeded'),"
            "       (SELECT count(*) FROM taskplatform.runs WHERE id > %(floor)s),"
            "       (SELECT count(*) FROM taskplatform.step_results"
            "        WHERE run_id > %(floor)s AND attempt = 1)",
            {"floor": self._floor},
        ).fetchone()
        if row == (runs, runs, runs * job.steps):
            return None
        return f"(succeeded, runs, results) are {row}, not {(runs, runs, runs * job.steps)}"
