"""Changing the platform's statements in this process."""

from types import ModuleType
from typing import Any


def change(module: ModuleType, old: str, new: str) -> None:
    """Change all statements of the module that have `old`; there has to be one."""
    statements = {name: value for name, value in vars(module).items() if isinstance(value, str)}
    found = [name for name, value in statements.items() if old in value]
    if not found:
        raise LookupError(f"no statement of {module.__name__} has {old!r}: the mutant is none")
    for name in found:
        vars(module)[name] = statements[name].replace(old, new)


def put(place: Any, name: str, value: Any) -> Any:
    """Put something in the place of what is there, which has to be there; return the old."""
    old = getattr(place, name)
    setattr(place, name, value)
    return old
