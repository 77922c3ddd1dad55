"""Celery's side: a plain Celery app, its five tasks and one, nothing of the platform imported.

Stock settings; results are ignored, as Celery advises where nobody reads them. A task hands its
value to the next one in the chain, as a step of the platform does.
"""

import os

from celery import Celery

from tests.benchmarks.marks import mark

URL = "BENCHMARK_BROKER_URL"

app = Celery("chain_app", broker=os.environ.get(URL), set_as_current=False)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task
def first(number: int) -> int:
    mark(number, 0)
    return number


@app.task
def second(number: int) -> int:
    mark(number, 1)
    return number


@app.task
def third(number: int) -> int:
    mark(number, 2)
    return number


@app.task
def fourth(number: int) -> int:
    mark(number, 3)
    return number


@app.task
def fifth(number: int) -> int:
    mark(number, 4)
    return number


@app.task
def only(number: int) -> int:
    mark(number, 0)
    return number
