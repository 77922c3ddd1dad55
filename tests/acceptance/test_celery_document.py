"""The code in docs/celery.md, as a reader would copy it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.processes import ROOT, worker

_FILE = re.compile(r"<!-- (\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)
_PRINTS = re.compile(r"^prints `(.+?)`", re.MULTILINE)


def test_the_project_of_the_document_works(
    env: dict[str, str], log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied into files, its worker executes what its programs send; they print what it says."""
    text = (ROOT / "docs/celery.md").read_text()
    files = dict(_FILE.findall(text))
    assert list(files) == ["project.py", "enqueue.py", "album.py"]
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    monkeypatch.delenv("TASKPLATFORM_BROKER_URL")
    monkeypatch.delenv("TASKPLATFORM_PIPELINES")
    told = {
        "TASKPLATFORM_DATABASE_URL": env["TASKPLATFORM_DATABASE_URL"],
        "BROKER_URL": env["TASKPLATFORM_BROKER_URL"],
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    queues = re.findall(r"celery -A project worker -Q (\S+)", text)
    with worker(told, log, "-c", "2", "-Q", *queues, app="project"):
        printed = [_run(tmp_path / name, told) for name in ("enqueue.py", "album.py")]
    assert printed == _PRINTS.findall(text), log.read_text()


def _run(program: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, program],
        env={**os.environ, **env},
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
