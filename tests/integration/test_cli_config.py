"""`taskplatform config show`: what is in force, and where it comes from."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from taskplatform.core.redaction import redact
from tests.command_line import CommandLine, on


def test_each_setting_has_its_value_and_its_source(
    database_url: str, broker_url: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.taskplatform]\nconcurrency = 3\nretention_days = 7\nqueue = 'a'\nhome = 'x'\n"
    )
    (tmp_path / ".env").write_text("TASKPLATFORM_QUEUE=b\nTASKPLATFORM_RETENTION_DAYS=8\n")
    settings = on(database_url, broker_url, retention_days="9", home="y").settings
    shown = CommandLine(settings, tmp_path)("--home", "z", "config", "show", "-o", "json").json

    sources = shown.pop("sources")
    assert (shown["database_url"], shown["broker_url"]) == (database_url, broker_url)
    assert (shown["concurrency"], sources["concurrency"]) == (3, "pyproject.toml")
    assert (shown["queue"], sources["queue"]) == ("b", ".env")
    assert (shown["retention_days"], sources["retention_days"]) == (9, "env")
    assert (shown["home"], sources["home"]) == ("z", "flag")
    assert (shown["shutdown_grace"], sources["shutdown_grace"]) == (30.0, "default")


def test_the_table_hides_passwords(database_url: str, broker_url: str) -> None:
    result = on(database_url, broker_url)("config", "show")
    for url in (database_url, broker_url):
        password = urlsplit(url).password
        assert password
        assert password not in result.out
        assert redact(url) in result.out


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgresql://u:p%40x@h/d?sslmode=require", "postgresql://u:***@h/d?sslmode=require"),
        ("postgresql:///d?host=/s&password=p", "postgresql:///d?host=/s&password=***"),
        ("redis://:p@[::1]:6379/0", "redis://:***@[::1]:6379/0"),
        ("redis://h/0", "redis://h/0"),
        ("host=h password=p dbname=d", "host=h password=*** dbname=d"),
    ],
)
def test_masking(url: str, shown: str) -> None:
    assert redact(url) == shown
