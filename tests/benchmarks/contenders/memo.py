"""Celery's chain with a memo in Postgres, as a team writes it by hand.

Before its work a task looks whether the run's step has a row; after it, it inserts one and
commits. Naive: nothing keeps two executions from both finding no row.
"""

import json
import os
import threading
import time
from uuid import uuid4

import psycopg
from celery import Celery, chain
from celery.canvas import Signature

from tests.benchmarks.contender import Pace
from tests.benchmarks.contenders.canvas import CanvasContender
from tests.benchmarks.jobs import FIVE, ONE, SLEEP, SLEEP_SECONDS, Job, Shape
from tests.benchmarks.marks import mark
from tests.benchmarks.place import BROKER, DATABASE

app = Celery("memo", broker=os.environ.get(BROKER), set_as_current=False)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True

_kept = threading.local()


def _connection() -> psycopg.Connection:
    """One of this thread, kept open."""
    if not hasattr(_kept, "connection"):
        _kept.connection = psycopg.connect(os.environ[DATABASE], autocommit=True)
    connection: psycopg.Connection = _kept.connection
    return connection


@app.task
def step(number: int, run: str, place: int, seconds: float = 0.0) -> int:
    connection = _connection()
    found = connection.execute(
        "SELECT output FROM memo WHERE run = %s AND step = %s", (run, place)
    ).fetchone()
    if found is not None:
        return int(found[0])
    if seconds:
        time.sleep(seconds)
    mark(number, place)
    connection.execute(
        "INSERT INTO memo (run, step, output) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (run, place, json.dumps(number)),
    )
    return number


class Memo(CanvasContender):
    """The same chain; outputs are stored under run and step."""

    title = "Celery chain + memo"
    durable = True
    shapes = frozenset({Shape.RATE, Shape.THREADS})
    jobs = frozenset({FIVE, ONE, SLEEP})
    pace = Pace(bulk=65, one=350, stream=60, enqueue=600, enqueue_bulk=700)
    app = app
    module = __name__

    def install(self) -> None:
        with psycopg.connect(self.place.database_url) as connection:
            connection.execute(
                "CREATE TABLE memo (run uuid, step integer, output json NOT NULL,"
                " finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),"
                " PRIMARY KEY (run, step))"
            )

    def canvas(self, number: int, job: Job) -> Signature:
        run = str(uuid4())
        if job == FIVE:
            return chain(step.s(number, run, 0), *(step.s(run, place) for place in range(1, 5)))
        return step.s(number, run, 0, SLEEP_SECONDS if job == SLEEP else 0.0)
