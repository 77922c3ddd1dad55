"""The examples of the guide to testing, as a reader would copy them."""

import re
from pathlib import Path

from tests.acceptance.processes import ROOT
from tests.acceptance.user_pytest import user_pytest

_FILE = re.compile(r"<!-- (\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)


def test_the_examples_of_the_guide_to_testing_pass(tmp_path: Path) -> None:
    """Blocks of one name are one file, in their order."""
    text = (ROOT / "docs/testing.md").read_text()
    files: dict[str, str] = {}
    for name, code in _FILE.findall(text):
        files[name] = files.get(name, "") + code
    assert len(_FILE.findall(text)) == text.count("```python")
    assert list(files) == ["orders.py", "test_orders.py", "test_orders_stored.py"]
    tests = sum(code.count("\ndef test_") for code in files.values())

    assert f"{tests} passed" in user_pytest(tmp_path, files)
