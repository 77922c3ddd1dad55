"""The contenders, each in a module of its own, loaded when it is its turn."""

from importlib import import_module

from tests.benchmarks.contender import Contender

OURS = "platform"
# Name: module and class. What is not installed fails to load, and only then.
_CONTENDERS = {
    OURS: ("platform", "Platform"),
    "app-task": ("app_task", "AppTask"),
    "chain": ("chain", "Chain"),
    "memo": ("memo", "Memo"),
    "plain": ("plain", "Plain"),
    "dbos": ("dbos", "Dbos"),
    "procrastinate": ("procrastinate", "Procrastinate"),
    "pgqueuer": ("pgqueuer", "PgQueuer"),
    "restate": ("restate", "Restate"),
}
NAMES = tuple(_CONTENDERS)


def load(name: str) -> type[Contender]:
    """The contender of that name. Raises ImportError when what it needs is not installed."""
    module, found = _CONTENDERS[name]
    contender: type[Contender] = getattr(import_module(f"{__name__}.{module}"), found)
    return contender


def absent(name: str) -> str | None:
    """Why the contender cannot be measured here, if so."""
    try:
        return load(name).missing()
    except ImportError as error:
        return f"{error.name or error} is not installed"
