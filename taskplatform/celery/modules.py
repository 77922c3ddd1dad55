"""Importing the modules that declare pipelines."""

import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType

from taskplatform.core import registry
from taskplatform.errors import DeclarationError
from taskplatform.settings import Settings, get_settings


def import_pipelines(load: Callable[[str], ModuleType] = importlib.import_module) -> None:
    """Import the modules of the setting PIPELINES and check what they declare.

    The default module may be missing: not every process has pipelines. Raises DeclarationError.
    """
    settings = get_settings()
    default = Settings.model_fields["pipelines"].default
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for module in settings.modules:
        try:
            load(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            if module != default:
                raise DeclarationError(
                    f"TASKPLATFORM_PIPELINES names module {module!r}, which cannot be found from "
                    f"{os.getcwd()}: start where it can be imported, or correct the name"
                ) from None
    registry.finalize_all()
