"""A plain Celery task with `ignore_result`, and a stock worker: for jobs of one step."""

import os

from celery import Celery
from celery.canvas import Signature

from tests.benchmarks.contender import Pace
from tests.benchmarks.contenders.canvas import CanvasContender
from tests.benchmarks.jobs import ONE, Job, Shape
from tests.benchmarks.marks import mark
from tests.benchmarks.place import BROKER

app = Celery("plain", broker=os.environ.get(BROKER), set_as_current=False)
app.conf.broker_connection_retry_on_startup = True


@app.task(ignore_result=True)
def task(number: int) -> None:
    mark(number, 0)


class Plain(CanvasContender):
    """`task.delay()`; acknowledged before it is executed, as Celery does by default."""

    title = "plain Celery task"
    durable = False
    shapes = frozenset({Shape.RATE, Shape.DEFAULT})
    jobs = frozenset({ONE})
    pace = Pace(bulk=90, one=400, stream=80, enqueue=700, enqueue_bulk=800)
    app = app
    module = __name__

    def one(self, number: int, job: Job) -> None:
        task.delay(number)

    def canvas(self, number: int, job: Job) -> Signature:
        return task.s(number)
