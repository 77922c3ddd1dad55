"""The code in the guide of steps, as a reader would copy it."""

import re
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.processes import ROOT, worker

_FILE = re.compile(r"<!-- (\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)


def test_the_pipeline_of_the_guide_runs(
    env: dict[str, str], log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Async, reports, logs and a transaction, in one run."""
    ((name, code),) = _FILE.findall((ROOT / "docs/guides/steps.md").read_text())
    (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    env |= {"TASKPLATFORM_PIPELINES": "catalogue", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    import catalogue  # type: ignore[import-not-found]  # noqa: PLC0415 made just now

    with psycopg.connect(env["TASKPLATFORM_DATABASE_URL"], autocommit=True) as database:
        database.execute("CREATE TABLE shelves (name text, words integer)")
        with worker(env, log, "-c", "1"):
            run = catalogue.catalogue.enqueue({"name": "A", "pages": 7}).wait(timeout=30)
        stored = database.execute("SELECT name, words FROM shelves").fetchall()
        kept = database.execute(
            "SELECT log FROM taskplatform.step_results WHERE step_name = 'fetch'"
        ).fetchone()

    assert run.status == "succeeded", run.error
    assert run.output == 28
    assert stored == [("A", 28)]
    assert kept is not None
    assert kept[0].endswith("7 pages to fetch")
