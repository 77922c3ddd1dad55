"""The house keeps its own rules."""

import ast
import statistics
from pathlib import Path
from types import ModuleType

import yaml
from alembic.config import Config
from alembic.script import ScriptDirectory

import taskplatform

ROOT = Path(__file__).parents[2]
# Files over the limit, each with its reason.
LONG_FOR_A_REASON: dict[str, str] = {}
_UNWANTED = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}


def test_the_front_door_is_what_it_says() -> None:
    assert len(taskplatform.__all__) == len(set(taskplatform.__all__)) <= 32
    found = {name: getattr(taskplatform, name) for name in taskplatform.__all__}
    assert not [name for name, value in found.items() if isinstance(value, ModuleType)]
    ours = {
        name
        for name, value in vars(taskplatform).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and str(getattr(value, "__module__", "")).startswith("taskplatform")
    }
    assert ours <= set(taskplatform.__all__)


def test_type_checkers_and_python_see_the_same_front_door() -> None:
    """The lazy names are declared twice: for type checkers, and for when they are asked for."""
    tree = ast.parse((ROOT / "taskplatform/__init__.py").read_text())
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("taskplatform.")
        for alias in node.names
    }
    assert seen | {"app"} == set(taskplatform.__all__)


def test_files_are_short() -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in ROOT.glob("taskplatform/**/*.py")
    }
    assert {name for name, many in lines.items() if many > 300} == set(LONG_FOR_A_REASON)
    assert statistics.median(lines.values()) < 100


def test_files_are_named_for_what_they_do() -> None:
    assert not [path for path in ROOT.glob("taskplatform/**/*.py") if path.stem in _UNWANTED]


def test_migrations_are_one_line() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    scripts = ScriptDirectory.from_config(config)
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1
    assert not (ROOT / "alembic/__init__.py").exists(), "it would hide the library of that name"


def test_what_ci_runs_exists() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    targets = {
        line.partition(":")[0]
        for line in (ROOT / "Makefile").read_text().splitlines()
        if line[:1].isalpha() and ":" in line
    }
    wanted = {"help", "demo", "dev", "test", "check", "lint", "type", "bench", "build", "clean"}
    assert wanted <= targets
    used = [
        word
        for line in script.read_text().splitlines()
        if " --no-print-directory " in line
        for word in line.split()[line.split().index("--no-print-directory") + 1 :]
    ]
    assert used[-1] == "test"
    assert set(used) <= targets


def test_the_workflow_files_are_yaml() -> None:
    for path in [*ROOT.glob("*.yml"), *ROOT.glob(".github/**/*.yml")]:
        assert yaml.safe_load(path.read_text())
