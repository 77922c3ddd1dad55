"""What a command stands on: the servers, their schema, and the declared pipelines."""

import logging
from contextlib import suppress
from importlib import import_module

from taskplatform.core import registry
from taskplatform.endpoints import Endpoints, endpoints
from taskplatform.errors import DeclarationError, TaskPlatformError
from taskplatform.settings import get_settings

logger = logging.getLogger(__name__)


def servers() -> Endpoints:
    """The servers in force; embedded ones are started and have the newest schema.

    Raises Unavailable.
    """
    return endpoints()


def pipelines() -> None:
    """Import the declared pipelines. Raises DeclarationError."""
    # Loads Celery, which the commands that need no pipelines do without.
    modules = import_module("taskplatform.celery.modules")
    try:
        modules.import_pipelines()
    except TaskPlatformError:
        raise
    except Exception as error:
        names = get_settings().pipelines
        raise DeclarationError(
            f"the pipelines in {names!r} cannot be imported: {type(error).__name__}: {error}; "
            f"`python -c 'import {names.replace(',', ', ')}'` shows where"
        ) from error


def pipelines_if_possible() -> None:
    """Import the declared pipelines to show runs in their order; without them it goes too."""
    try:
        pipelines()
    except DeclarationError as error:
        logger.warning("steps are shown as stored: %s", error)
        with suppress(TaskPlatformError):
            registry.finalize_all()
