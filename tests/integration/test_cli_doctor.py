"""`taskplatform doctor` and `db`: what is wrong is found and the remedy is said."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis

from taskplatform.cli.broker_checks import eviction, persistence, reachable
from taskplatform.cli.checks import clock, durability, migration, pooling, version
from taskplatform.embedded import endpoints
from taskplatform.storage import databases
from taskplatform.storage.health import Facts
from tests.command_line import CommandLine, Result, on
from tests.system_programs import system_program


@pytest.fixture
def cli(database_url: str, broker_url: str) -> CommandLine:
    return on(database_url, broker_url)


def _results(result: Result) -> dict[str, Any]:
    return {one["check"]: one for one in json.loads(result.out)}


@pytest.fixture
def durable(database_url: str) -> Iterator[None]:
    """The session's server waits for its disk, as users' servers do."""
    databases.wait_for_disk(database_url, True)
    yield
    databases.wait_for_disk(database_url, False)


def test_a_good_installation_fails_in_nothing(cli: CommandLine, durable: None) -> None:
    result = cli("doctor", "-o", "json")
    found = _results(result)

    assert result.code == 0
    assert {name for name, one in found.items() if one["result"] == "ok"} == {
        "settings",
        "pipelines",
        "broker",
        "eviction",
        "persistence",
        "database",
        "clock",
        "durability",
        "pooling",
        "migration",
    }
    assert found["workers"]["result"] == "warning"
    assert "celery -A taskplatform worker" in found["workers"]["remedy"]


def test_work_that_no_worker_serves_is_named(cli: CommandLine) -> None:
    cli("enqueue", "demo", "--input", '{"task_id": "t"}')
    result = cli("doctor")

    assert result.code == 0
    assert "! queues" in result.out
    assert "1 open runs wait on queue 'taskplatform'" in result.out


def test_the_passwords_stay_hidden(cli: CommandLine, database_url: str) -> None:
    password = urlsplit(database_url).password
    assert password
    result = cli("doctor")
    assert password not in result.out + result.err


def test_a_database_without_schema_fails_until_it_is_upgraded(
    empty_database_url: str, broker_url: str
) -> None:
    cli = on(empty_database_url, broker_url)
    doctor = cli("doctor")
    assert doctor.code == 1
    assert "✗ migration" in doctor.out
    assert "taskplatform db upgrade" in doctor.out
    check = cli("db", "check")
    assert (check.code, "db upgrade" in check.err) == (1, True)

    assert cli("db", "upgrade", "-o", "json").json["up_to_date"] is True

    assert cli("db", "check").code == 0
    assert cli("doctor").code == 0


def test_servers_that_are_away_fail(database_url: str, broker_url: str) -> None:
    without_broker = on(database_url, "redis://127.0.0.1:1/0")("doctor", "-o", "json")
    without_database = on("postgresql://127.0.0.1:1/x", broker_url)("doctor", "-o", "json")

    assert (without_broker.code, without_database.code) == (1, 1)
    assert _results(without_broker)["broker"]["result"] == "failure"
    assert _results(without_broker)["database"]["result"] == "ok"
    assert _results(without_database)["database"]["result"] == "failure"


def test_settings_and_declarations_that_are_wrong_fail(
    database_url: str, broker_url: str, tmp_path: Path
) -> None:
    wrong = CommandLine({"concurrency": "many"})("doctor")
    assert wrong.code == 1
    assert "✗ settings" in wrong.out
    assert "TASKPLATFORM_CONCURRENCY" in wrong.out
    (tmp_path / "broken.py").write_text("1 / 0")
    settings = on(database_url, broker_url, pipelines="broken").settings
    broken = CommandLine(settings, tmp_path)("doctor")
    assert broken.code == 1
    assert "ZeroDivisionError" in broken.out


def test_a_broker_that_evicts_fails(own_home: Path, database_url: str) -> None:
    """On a real server of its own, as it is told by one that forbids CONFIG too."""
    broker = endpoints(own_home, database=False).broker_url
    cli = on(database_url, broker)
    with Redis.from_url(broker) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        evicting = cli("doctor", "-o", "json")
        client.config_set("maxmemory-policy", "noeviction")
        client.execute_command("ACL", "SETUSER", "default", "-config")
        refusing = cli("doctor", "-o", "json")

    assert evicting.code == 1
    assert "allkeys-lru" in _results(evicting)["eviction"]["message"]
    assert "noeviction" in _results(evicting)["eviction"]["remedy"]
    assert _results(refusing)["eviction"]["result"] == "ok"


def test_what_the_broker_says_is_judged() -> None:
    assert reachable("redis://h", {"redis_version": "4.0.9"}).result == "failure"
    assert reachable("redis://h", {"redis_version": "7.2.0"}).result == "ok"
    assert eviction({"maxmemory": 0, "maxmemory_policy": "allkeys-lru"}).result == "ok"
    assert eviction({"maxmemory": 1 << 20}).result == "warning"
    assert persistence({"aof_enabled": 0}).result == "warning"


def test_what_the_database_says_is_judged() -> None:
    now = datetime.now(UTC)
    good = Facts(180000, "18.0", True, True, "on", False, now)
    assert version("postgresql://h/d", good).result == "ok"
    assert version("x://", Facts(140009, "14.9", True, True, "on", False, now)).result == "failure"
    assert version("x://", Facts(180000, "18", True, True, "on", True, now)).result == "failure"
    assert durability(Facts(180000, "18", False, True, "on", False, now)).result == "warning"
    assert durability(Facts(180000, "18", True, True, "off", False, now)).result == "warning"
    assert clock(now, now + timedelta(seconds=3)).result == "warning"
    assert clock(now, now + timedelta(seconds=1)).result == "ok"
    assert migration("0000", "0001").result == "failure"


def test_a_lax_commit_is_a_warning(cli: CommandLine, database_url: str) -> None:
    name = urlsplit(database_url).path.removeprefix("/")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    result = cli("doctor")
    assert result.code == 0
    assert "! durability" in result.out


def test_a_shared_backend_gives_a_pooler_away() -> None:
    assert pooling({1}, {2}, announced=1).result == "ok"
    assert pooling({1}, {2}, announced=9).result == "ok"
    assert pooling({1}, {1}, announced=9).result == "failure"
    assert pooling({1, 2}, {3}, announced=9).result == "failure"


@pytest.fixture(params=["session", "transaction"])
def bouncer(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Any]:
    """A PgBouncer in front of the database: its pool mode and its URL."""
    program = system_program("pgbouncer")
    server = urlsplit(database_url)
    name = server.path.removeprefix("/")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = tmp_path / "bouncer.ini"
    file.write_text(
        f"[databases]\n{name} = host={server.hostname} port={server.port} "
        f"user={server.username} password={server.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        f"unix_socket_dir =\npool_mode = {request.param}\n"
    )
    for folder in (file, *tmp_path.parents[:3], tmp_path):
        folder.chmod(0o755)
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, "-q", *as_user, str(file)])
    url = f"postgresql://{server.username}@127.0.0.1:{port}/{name}"
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url).close()
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield request.param, url
    process.terminate()
    process.wait()


def test_a_pooler_by_transaction_fails(bouncer: tuple[str, str], broker_url: str) -> None:
    mode, url = bouncer
    found = _results(on(url, broker_url)("doctor", "-o", "json"))
    assert found["pooling"]["result"] == ("ok" if mode == "session" else "failure")
    assert "pooler" in found["pooling"]["message"]
