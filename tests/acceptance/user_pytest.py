"""A user's own pytest, in a folder of its own, with the fixtures of the platform."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.acceptance.processes import ROOT

# By their names: the entry points of an environment depend on when it was made.
PLUGINS = ("-p", "taskplatform.testing.plugin", "-p", "no:cacheprovider")


def user_pytest(
    folder: Path, files: Mapping[str, str], *arguments: str, env: Mapping[str, str] | None = None
) -> str:
    """Run these files' tests, which have to pass; what was printed."""
    for name, code in files.items():
        (folder / name).write_text(code)
    (folder / "tmp").mkdir(exist_ok=True)
    # Embedded servers of an ordinary user have to reach it.
    for one in (folder, folder / "tmp"):
        one.chmod(0o755)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", *PLUGINS, *arguments],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
            "TMPDIR": str(folder / "tmp"),
            **(env or {}),
        },
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not list((folder / "tmp").glob("taskplatform-*")), "servers or their data are left"
    return ended.stdout
