"""What contenders share that enqueue by a canvas or a task of a Celery app."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from celery import Celery
from celery.canvas import Signature

from tests.benchmarks.contender import Contender, celery_worker
from tests.benchmarks.jobs import Job, Shape


class CanvasContender(Contender):
    """A stock worker of an app; one call of `apply_async` for each run, there is no bulk one."""

    package = "celery"
    app: ClassVar[Celery]
    # What `celery -A` is to load.
    module: ClassVar[str]

    @abstractmethod
    def canvas(self, number: int, job: Job) -> Signature:
        """One run."""

    def workers(self, shape: Shape) -> list[list[str]]:
        return celery_worker(self.module, shape)

    def one(self, number: int, job: Job) -> None:
        self.canvas(number, job).apply_async()

    def bulk(self, numbers: Iterable[int], job: Job) -> None:
        with self.app.producer_or_acquire() as producer:
            for number in numbers:
                self.canvas(number, job).apply_async(producer=producer)
