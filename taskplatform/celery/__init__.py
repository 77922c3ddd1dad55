"""The Celery side: the app, shifts, step tasks, the doorbell."""

from taskplatform.celery.app import app

__all__ = ["app"]
