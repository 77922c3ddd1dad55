"""Adding the platform to a Celery app that a user has already."""

import sys
from typing import Any

from celery import Celery
from celery.signals import import_modules

from taskplatform.celery.defaults import apply_defaults
from taskplatform.celery.installed import installed, remember
from taskplatform.celery.modules import import_pipelines
from taskplatform.celery.steps import register_steps
from taskplatform.celery.tasks import add_shift
from taskplatform.settings import get_settings

SUPERVISION = "taskplatform.supervisor.attach:Supervision"
GUARD = "taskplatform.celery.guard:Guard"


def install(app: Celery) -> None:
    """Let the app's workers execute pipelines beside its own tasks, on the app's own broker.

    The app's settings, queues, routes and schedules stay as they are. Call it where the app is
    made; doing so again is harmless.
    Raises SettingsError if the platform is in another app of this process.
    """
    own = sys.modules.get("taskplatform.celery.app")
    if (own and own.app is app) or not remember(app):
        return
    apply_defaults(app)
    attach(app)


def attach(app: Celery) -> None:
    """Give the app the task that opens shifts, and its workers a supervisor and a guard."""
    add_shift(app)
    # By path, too: only workers need what it imports.
    app.steps["consumer"].add(GUARD)
    # By path: the supervisor stands above this layer and is attached, not imported.
    app.steps["worker"].add(SUPERVISION)


@import_modules.connect(weak=False)
def _import_modules(sender: Any, **_: Any) -> None:
    # What the user's own modules declare is registered later: they are imported after this.
    app = installed()
    if app is not None and sender is app and "pipelines" in get_settings().model_fields_set:
        import_pipelines(app.loader.import_task_module)
        register_steps(app)
