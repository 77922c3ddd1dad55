"""`taskplatform verify`, as a user calls it, on pipelines that are safe and some that are not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def _verify(pipeline: str, folder: Path) -> tuple[int, dict[str, Any]]:
    ended = subprocess.run(
        [
            sys.executable, "-m", "taskplatform", "verify", pipeline,
            "--input", json.dumps({"folder": str(folder)}),
            "--runs", "40", "--faults", "10", "-o", "json",
        ],
        cwd=ROOT,
        env={**os.environ, "TASKPLATFORM_PIPELINES": "tests.chaos.tried"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )  # fmt: skip
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


@pytest.mark.timeout(160)
def test_a_sound_pipeline_passes(tmp_path: Path) -> None:
    """Steps, a map and an async step: all executed twice, and nobody is accused."""
    code, report = _verify("sound", tmp_path)
    assert report["passed"], report
    assert code == 0
    assert report["verdict"]["succeeded"] == 40
    assert sum(report["verdict"]["faults"].values()) >= 7
    assert {"twice", "outside", "key"} <= set(report["steps"]["sound.count"])
    assert "twice" in report["steps"]["sound.each"]


@pytest.mark.timeout(160)
def test_steps_that_are_not_safe_are_named(tmp_path: Path) -> None:
    """G2: what returns something else, what fails, and what has an effect without a key."""
    code, report = _verify("faulty", tmp_path)
    assert code == 1
    steps = report["steps"]
    assert "unstable" in steps["faulty.stamp"]
    assert "FileExistsError" in steps["faulty.claim"]["not-idempotent"][0]
    assert steps["faulty.tell"]["outside"] == ["connects to 127.0.0.1:9"]
    assert "key" not in steps["faulty.tell"]
