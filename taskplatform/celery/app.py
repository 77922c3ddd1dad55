"""The Celery app of the platform, for those who have none: configured lazily."""

from typing import Any

from celery import Celery
from celery.signals import import_modules

from taskplatform.celery.config import config
from taskplatform.celery.install import attach
from taskplatform.celery.installed import installed
from taskplatform.celery.modules import import_pipelines
from taskplatform.celery.steps import register_steps
from taskplatform.errors import SettingsError

app = Celery("taskplatform", set_as_current=installed() is None)
app.add_defaults(config)
attach(app)


@import_modules.connect(weak=False)
def _import_modules(sender: Any, **_: Any) -> None:
    if sender is not app:
        return
    import_pipelines(app.loader.import_task_module)
    register_steps(app)
    other = installed()
    if other is not None:
        raise SettingsError(
            f"the pipelines belong to the Celery app '{other.main}', in which the platform is "
            "installed: start `celery -A` with that one, not with taskplatform"
        )
