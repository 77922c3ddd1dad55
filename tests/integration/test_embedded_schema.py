"""An embedded database has the newest schema when it is first used."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from taskplatform.embedded.schema import ensure
from taskplatform.errors import Unavailable
from taskplatform.storage import revision
from tests.command_line import CommandLine


def test_the_newest_revision_is_what_alembic_says() -> None:
    config = Config()
    config.set_main_option("script_location", str(revision.scripts()))
    assert revision.head() == ScriptDirectory.from_config(config).get_current_head()


def test_an_empty_database_is_migrated_once_by_several_at_once(empty_database_url: str) -> None:
    code = "import sys; from taskplatform.embedded.schema import ensure; ensure(sys.argv[1])"
    command = [sys.executable, "-c", code, empty_database_url]
    with ThreadPoolExecutor(3) as threads:
        for done in threads.map(lambda _: subprocess.run(command, check=False), range(3)):
            assert done.returncode == 0

    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute("SELECT version_num FROM taskplatform.alembic_version")
        assert row.fetchall() == [(revision.head(),)]


def test_the_look_at_a_migrated_database_is_quick(database_url: str) -> None:
    def seconds() -> float:
        began = perf_counter()
        ensure(database_url)
        return perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.03


def test_the_look_loads_no_alembic(database_url: str) -> None:
    code = (
        "import sys; from taskplatform.embedded.schema import ensure; ensure(sys.argv[1]);"
        "assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, database_url], check=True)


def test_a_schema_of_a_newer_version_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE taskplatform.alembic_version SET version_num = '9999'")
    with pytest.raises(Unavailable, match="newer version"):
        ensure(database_url)


def test_with_nothing_configured_two_first_commands_at_once_work(own_home: Path) -> None:
    """C5, Q14: servers and schema are made once, and one key is one run."""
    cli = CommandLine({"home": str(own_home)})
    arguments = ("enqueue", "demo", "--input", '{"task_id": "t1"}', "-o", "json")
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: cli(*arguments), range(2))

    assert first.json["id"] == second.json["id"]
    assert cli("runs", "show", first.json["id"], "-o", "json").json["status"] == "queued"
