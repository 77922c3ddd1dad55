"""The examples of the document on shapes, executed in process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskplatform.core import registry
from tests.document_programs import Program, programs

DOCUMENT = Path(__file__).parents[2] / "docs/pipelines.md"


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


@pytest.mark.parametrize("program", programs(DOCUMENT), ids=lambda one: str(one.section))
def test_each_section_is_a_program_that_runs(program: Program, tmp_path: Path) -> None:
    program.execute(tmp_path, worker=False)


def test_no_example_is_left_out() -> None:
    found = programs(DOCUMENT)
    shown = DOCUMENT.read_text().count("```python")
    assert shown == 1 + sum(len(one.blocks) - 1 for one in found)
    assert [one.section for one in found if one.needs_worker] == ["Waits"]
