"""A team's own plain task: on the platform's app, and on a Celery app without the platform."""

from tests.benchmarks.jobs import ONE, Shape
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.session import Found, Session


def _take(session: Session) -> Found:
    contender = session.contender
    tasks = session.runs(contender.pace.one)
    with session.worker(Shape.RATE, ONE) as workers, session.meter(workers) as meter:
        before = meter.read()
        rate = session.rate(contender.bulk, tasks, ONE)
        spent = meter.read() - before
    return Found({"task.rate": rate, "task.cpu": spent.cpu / tasks * 1000})


MEASURE = Measure("tasks", ("app-task", "plain"), _take)
