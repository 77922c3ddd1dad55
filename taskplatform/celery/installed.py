"""Which Celery app this process works with: a user's own, or the platform's."""

from importlib import import_module

from celery import Celery

from taskplatform.errors import SettingsError

_installed: Celery | None = None


def installed() -> Celery | None:
    """The app of the user's that the platform was added to, if any."""
    return _installed


def platform_app() -> Celery:
    """The app in force."""
    app: Celery = _installed or import_module("taskplatform.celery.app").app
    return app


def remember(app: Celery) -> bool:
    """Make it the app of this process; False if it is already.

    Raises SettingsError if it is another.
    """
    global _installed
    if _installed is app:
        return False
    if _installed is not None:
        raise SettingsError(
            f"the platform is installed in the Celery app '{_installed.main}' already, and a "
            f"process has one: '{app.main}' is a second one. If they are meant to be the same, its "
            "module was imported under two names"
        )
    _installed = app
    return True


def forget() -> None:
    """Work with the platform's own app again; for tests."""
    global _installed
    _installed = None
