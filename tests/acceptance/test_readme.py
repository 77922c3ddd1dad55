"""The code in the README, as a reader would copy it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.processes import ROOT, worker

_FILE = re.compile(r"<!-- (\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)


def test_the_pipeline_of_the_readme_runs(env: dict[str, str], log: Path, tmp_path: Path) -> None:
    """C5: copied into two files, it is enqueued, executed by a worker, and answers."""
    files = dict(_FILE.findall((ROOT / "README.md").read_text()))
    assert list(files) == ["shop.py", "buy.py"]
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    env |= {"TASKPLATFORM_PIPELINES": "shop", "PYTHONPATH": str(tmp_path)}

    with worker(env, log, "-c", "1"):
        bought = subprocess.run(
            [sys.executable, tmp_path / "buy.py"],
            env={**os.environ, **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    assert bought.returncode == 0, bought.stderr
    assert bought.stdout.startswith("1999 cents, ")
    assert bought.stdout.endswith(":charge\n")


def test_the_pipeline_of_the_readme_is_short() -> None:
    files = dict(_FILE.findall((ROOT / "README.md").read_text()))
    assert len([line for line in files["shop.py"].splitlines() if line]) <= 20
