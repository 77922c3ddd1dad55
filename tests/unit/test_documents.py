"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest
from click import Group

import taskplatform
from taskplatform.cli.root import COMMANDS, load
from taskplatform.core.run import TRANSITIONS, Reason, Status
from taskplatform.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SETTING = re.compile(rf"^\| `{PREFIX}(\w+)` \| (?:`([^`]*)`|(unset)) \|", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[`(|] ?)taskplatform ([a-z]+)(?: ([a-z]+)\b)?", re.MULTILINE)


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    told = {
        name.lower(): None if unset else default
        for name, default, unset in _SETTING.findall((ROOT / "README.md").read_text())
    }
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert told == {
        name: None if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in defaults.items()
    }


def test_the_diagram_has_every_transition_and_no_other() -> None:
    """The table of transitions is one module; the architecture's diagram repeats it."""
    text = (ROOT / "docs/architecture.md").read_text()
    arrows = re.findall(r"^ +([a-z]+) --> ([a-z]+)", text, re.MULTILINE)
    assert len(arrows) == len(set(arrows))
    assert set(arrows) == {(one, other) for one, next in TRANSITIONS.items() for other in next}


def test_every_statement_that_the_architecture_names_is_one() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    told = set(re.findall(r"`([A-Z_]{4,})`", text.partition("## Forks")[2].partition("\n## ")[0]))
    code = "".join(path.read_text() for path in (ROOT / "taskplatform/storage").glob("*.py"))
    assert told
    assert told <= set(re.findall(r"^([A-Z_]+) = ", code, re.MULTILINE))


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert words == sorted(words)


@pytest.mark.parametrize("name", sorted(set(taskplatform.__all__) - {"app", "TaskPlatformError"}))
def test_every_public_name_is_explained(name: str) -> None:
    texts = ["README.md", "docs/pipelines.md", "docs/guides/pipelines.md"]
    assert any(re.search(rf"\b{name}\b", (ROOT / text).read_text()) for text in texts)


def test_every_command_is_in_the_guide() -> None:
    told = set(_COMMAND.findall((ROOT / "docs/guides/cli.md").read_text()))
    for name in COMMANDS:
        command = load(name)
        subcommands = command.commands if isinstance(command, Group) else [""]
        assert {(name, one) for one in subcommands} <= told


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_links_of_a_document_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for name, argument in _COMMAND.findall(text):
        assert name in COMMANDS, f"no such command: {name}"
        command = load(name)
        known = command.commands if isinstance(command, Group) else [argument]
        assert argument in known, f"no such command: {name} {argument}"
    for link in _LINK.findall(text):
        if not link.startswith(("https://", "http://")):
            _follow(document, link)


def _follow(document: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    assert target.exists(), f"{link} leads nowhere"
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


def test_states_and_reasons_are_those_of_the_schema() -> None:
    """The first migration's words; the integration test asks the database for its own."""
    schema = "".join(path.read_text() for path in (ROOT / "alembic/versions").glob("*.py"))
    for word in [*Status, *Reason]:
        assert f"'{word}'" in schema


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text()
    found = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert re.findall(r"\((\d{4}-[\w-]+\.md)\)", index) == found
    assert [int(name[:4]) for name in found] == list(range(1, len(found) + 1))
