"""The examples of the document on shapes, executed in process."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskplatform import Pipeline
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
    assert [one.section for one in found if one.needs_worker] == [
        "Waits",
        "Transactional steps",
    ]


@pytest.mark.parametrize("way", ["step", "map", "sleep", "wait", "child"])
def test_every_shape_and_each_of_its_options_is_in_an_example(way: str) -> None:
    code = "".join(code for one in programs(DOCUMENT) for _, code in one.blocks)
    assert f".{way}(" in code
    for option in inspect.signature(getattr(Pipeline, way)).parameters.values():
        if option.kind is option.KEYWORD_ONLY:
            assert f"{option.name}=" in code
