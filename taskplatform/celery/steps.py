"""Every step with a body is a registered Celery task: `<pipeline>.<step>`, given a run's id."""

from typing import Any
from uuid import UUID

from celery import Celery

from taskplatform.celery.tasks import PlatformTask
from taskplatform.core import registry


def register_steps(app: Celery) -> None:
    """Register a task for each declared body that has none yet."""
    for declaration in registry.all():
        bodies = [step for step in declaration.steps if step.has_body]
        undoing = [step.compensation for step in bodies if step.compensation is not None]
        for step in (*bodies, *undoing):
            if step.task_name not in app.tasks:
                _register(app, step.task_name)


def _register(app: Celery, name: str) -> None:
    @app.task(name=name, base=PlatformTask)
    def execute(run_id: str) -> None:
        """Execute the run from the step it stands at, if nobody else does."""
        from taskplatform.celery.shift import work_on  # noqa: PLC0415 needs the app's queues

        work_on(app, UUID(run_id))

    _: Any = execute
