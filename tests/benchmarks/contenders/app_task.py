"""A plain task of a team's own on the platform's app, which executes pipelines beside it."""

from celery.canvas import Signature

from taskplatform import app
from tests.benchmarks.contender import Pace
from tests.benchmarks.contenders import platform
from tests.benchmarks.contenders.canvas import CanvasContender
from tests.benchmarks.jobs import ONE, Job, Shape
from tests.benchmarks.marks import mark


@app.task(ignore_result=True, name="benchmark.task")
def task(number: int) -> None:
    mark(number, 0)


class AppTask(CanvasContender):
    """`task.delay()`; acknowledged before it is executed, like a plain Celery task."""

    title = "@app.task on the platform's app"
    package = "taskplatform"
    durable = False
    shapes = frozenset({Shape.RATE})
    jobs = frozenset({ONE})
    pace = Pace(bulk=90, one=400, stream=80, enqueue=700, enqueue_bulk=800)
    app = app
    module = "taskplatform"

    def environment(self) -> dict[str, str]:
        return platform.environment(self.place, platform.__name__, __name__)

    def started(self) -> None:
        platform.supervised(self.place)

    def one(self, number: int, job: Job) -> None:
        task.delay(number)

    def canvas(self, number: int, job: Job) -> Signature:
        return task.s(number)
