"""Programs of the system that some tests use besides the servers that come with the environment."""

import os
import shutil
from pathlib import Path

import pytest

# Debian keeps daemons out of the path of ordinary users.
_PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


def system_program(name: str) -> Path:
    """The path of a program; without it the test is skipped, but in CI it fails."""
    return _found(name, shutil.which(name, path=_PLACES))


def postgres_programs() -> Path:
    """The folder of the newest PostgreSQL of the system."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: one.parts)
    return _found("postgresql", folders[-1] if folders else None)


def _found(name: str, path: str | Path | None) -> Path:
    if path is None:
        tell = pytest.fail if os.environ.get("CI") else pytest.skip
        tell(f"{name} of the system is not installed")
    return Path(path)
