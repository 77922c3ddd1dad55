"""The one Celery app of the platform, configured lazily."""

import logging
from typing import Any

from celery import Celery
from celery.signals import import_modules

from taskplatform.celery.config import config
from taskplatform.celery.modules import import_pipelines
from taskplatform.celery.steps import register_steps

logger = logging.getLogger(__name__)

app = Celery("taskplatform", set_as_current=True)
app.add_defaults(config)
# By path: the supervisor stands above this layer and is attached, not imported.
app.steps["worker"].add("taskplatform.supervisor.attach:Supervision")


@import_modules.connect(weak=False)
def _import_modules(sender: Any, **_: Any) -> None:
    if sender is app:
        import_pipelines(app.loader.import_task_module)
        register_steps(app)


@app.task(
    name="taskplatform.shift",
    ignore_result=True,
    Strategy="taskplatform.celery.strategy:one_per_child",
)
def shift() -> None:
    """Claim ready work and execute it until there is none."""
    from taskplatform.celery.shift import work  # noqa: PLC0415 needs the app's queues

    work(app)
