"""Celery's own chain: a message a step, nothing stored.

Stock settings; results are ignored, as Celery advises where nobody reads them. A task hands its
value to the next one in the chain, as a step of the platform does.
"""

import os
import time

from celery import Celery, chain
from celery.canvas import Signature

from tests.benchmarks.contender import Pace
from tests.benchmarks.contenders.canvas import CanvasContender
from tests.benchmarks.jobs import FIVE, ONE, SLEEP, SLEEP_SECONDS, Job, Shape
from tests.benchmarks.marks import mark
from tests.benchmarks.place import BROKER

app = Celery("chain", broker=os.environ.get(BROKER), set_as_current=False)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task
def step(number: int, place: int) -> int:
    mark(number, place)
    return number


@app.task
def sleep(number: int) -> int:
    time.sleep(SLEEP_SECONDS)
    mark(number, 0)
    return number


class Chain(CanvasContender):
    """`chain(...).apply_async()` and a stock worker."""

    title = "Celery chain"
    durable = False
    shapes = frozenset({Shape.RATE, Shape.DEFAULT, Shape.THREADS})
    jobs = frozenset({FIVE, ONE, SLEEP})
    pace = Pace(bulk=90, one=400, stream=80, enqueue=700, enqueue_bulk=800)
    app = app
    module = __name__

    def canvas(self, number: int, job: Job) -> Signature:
        if job == FIVE:
            return chain(step.s(number, 0), *(step.s(place) for place in range(1, 5)))
        return sleep.s(number) if job == SLEEP else step.s(number, 0)
