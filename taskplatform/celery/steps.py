"""Every step with a body is a registered Celery task: `<pipeline>.<step>`, given a run's id."""

from typing import Any

from celery import Celery

from taskplatform.celery.tasks import PlatformTask
from taskplatform.core import registry


class StepTask(PlatformTask):
    """A message of a canvas. To receive it twice does no harm, to lose it may lose the canvas."""

    abstract = True
    acks_late = True
    reject_on_worker_lost = True


def register_steps(app: Celery) -> None:
    """Register a task for each declared body that has none yet."""
    for declaration in registry.all():
        bodies = [step for step in declaration.steps if step.has_body]
        undoing = [step.compensation for step in bodies if step.compensation is not None]
        for step in (*bodies, *undoing):
            if step.task_name not in app.tasks:
                _register(app, declaration.name, step.name, step.task_name)


def _register(app: Celery, pipeline: str, step: str, name: str) -> None:
    @app.task(name=name, base=StepTask, bind=True)
    def execute(self: Any, run_id: Any) -> Any:
        """Execute this step of the run, if it stands there; then the rest of the canvas."""
        from taskplatform.celery.messages import receive  # noqa: PLC0415 needs the app's queues

        return receive(self, pipeline, step, run_id)

    _: Any = execute
