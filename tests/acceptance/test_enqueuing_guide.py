"""The code in the guide to enqueuing, as a reader would copy it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.processes import ROOT, worker

_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_examples_of_the_guide_run(env: dict[str, str], log: Path, tmp_path: Path) -> None:
    """The first is the module; the others are one program, in their order."""
    module, *program = _BLOCK.findall((ROOT / "docs/guides/enqueuing.md").read_text())
    assert len(program) == 4
    (tmp_path / "shop.py").write_text(module)
    (tmp_path / "program.py").write_text("\n".join(program))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    env |= {"TASKPLATFORM_PIPELINES": "shop", "PYTHONPATH": path}

    with worker(env, log, "-c", "1"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "program.py"],
            env={**os.environ, **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" status succeeded\n")
