"""Where the supervisor's process finds what its worker has declared: the same modules."""

import importlib
import logging
import sys
from collections.abc import Iterable, Sequence

from taskplatform.celery.installed import installed, platform_app
from taskplatform.core import registry

logger = logging.getLogger(__name__)


def sources() -> list[str]:
    """The modules of this process in which the app and the pipelines are, as far as it is known."""
    app = installed()
    files = {getattr(module, "__file__", None): name for name, module in list(sys.modules.items())}
    found = [] if app is None else [_module_of(app)]
    found += [files.get(one.place.rpartition(":")[0]) for one in registry.all()]
    return list(dict.fromkeys(name for name in found if name and name != "__main__"))


def load(modules: Sequence[str], wanted: Iterable[str]) -> None:
    """Declare what the worker has declared.

    What cannot be imported here is said and left out: leases are renewed all the same.
    """
    try:
        for module in modules[:1]:
            importlib.import_module(module)
        platform_app().loader.import_default_modules()
        for module in modules:
            importlib.import_module(module)
        registry.finalize_all()
    except Exception:
        logger.exception("the supervisor cannot import what its worker has imported")
    unknown = set(wanted) - set(registry.names())
    if unknown:
        logger.warning(
            "declared in the worker and not found by its supervisor, which gives attempts of it "
            "that are killed for their time back without a record: %s",
            ", ".join(sorted(unknown)),
        )


def _module_of(app: object) -> str | None:
    named = [
        name
        for name, module in list(sys.modules.items())
        if any(value is app for value in list(getattr(module, "__dict__", {}).values()))
    ]
    # Where it was made comes before where it is used: modules are listed as their import began.
    ours = ("celery", "taskplatform", "__main__")
    return next((name for name in named if name.split(".")[0] not in ours), None)
