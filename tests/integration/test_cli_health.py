"""`taskplatform health`: what is down or suspicious is named, in time."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from taskplatform.cli import health as command
from taskplatform.cli import health_checks
from taskplatform.cli.broker_checks import is_full
from taskplatform.cli.finding import Finding
from taskplatform.core.ids import uuid7
from taskplatform.endpoints import Endpoints
from taskplatform.storage import health, pauses, workers
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.workers import Worker
from tests.command_line import CommandLine, Result, on
from tests.integration.races.stage import Stage
from tests.integration.roles import limited_role


@pytest.fixture
def cli(database_url: str, broker_url: str) -> CommandLine:
    return on(database_url, broker_url)


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    with closing(connect(database_url, pinned=False)) as one:
        yield one


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and says nothing, as one that is stopped."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


def live(session: Session, *, queues: str = "taskplatform", pipelines: str = "demo") -> None:
    """A worker reports."""
    workers.report(
        session,
        id=uuid7(),
        name="w@here",
        host="here",
        pid=1,
        pool="prefork",
        concurrency=2,
        queues=[queues],
        pipelines=[pipelines],
    )


def _results(result: Result) -> dict[str, Any]:
    return {one["check"]: one for one in json.loads(result.out)}


def _in(url: str, what: str) -> list[Finding]:
    return [one for one in health_checks.database(url) if one.check == what]


def test_a_system_that_works_is_healthy(cli: CommandLine, session: Session) -> None:
    live(session)
    result = cli("health", "-o", "json")
    assert result.code == 0
    assert {one["result"] for one in json.loads(result.out)} == {"ok"}
    assert set(_results(result)) == {
        "broker",
        "eviction",
        "database",
        "clock",
        "disk",
        "migration",
        "workers",
        "backlog",
        "stuck",
    }
    page = cli("health")
    assert "✓ workers" in page.out
    assert "1 alive, 0/2 busy" in page.out


def test_without_a_worker_it_says_so(cli: CommandLine, session: Session) -> None:
    """Outage table: "no worker for queue x"; another queue's worker is none."""
    cli("enqueue", "demo", "--input", '{"task_id": "t"}')
    nobody = cli("health", "-o", "json")
    assert nobody.code == 69
    assert _results(nobody)["workers"]["message"].startswith("none is alive")
    live(session, queues="elsewhere")
    other = cli("health", "-o", "json")
    assert other.code == 69
    assert "no worker for queue taskplatform: 1 open" in _results(other)["queues"]["message"]


def test_pauses_are_named_and_a_breaker_is_down(cli: CommandLine, session: Session) -> None:
    live(session)
    assert cli("pipelines", "pause", "demo", "--why", "tea", "-o", "json").json["changed"] is True
    by_hand = cli("health", "-o", "json")
    assert by_hand.code == 0
    assert _results(by_hand)["paused"]["message"].endswith(": tea")
    (shown,) = [one for one in cli("pipelines", "list", "-o", "json").json if one["name"] == "demo"]
    assert (shown["paused"]["reason"], shown["paused"]["why"]) == ("paused", "tea")
    assert "paused by hand since" in cli("pipelines", "show", "demo").out
    assert "demo is paused by hand" in cli("pipelines", "list").err
    assert "was paused already" in cli("pipelines", "pause", "demo").out
    assert "goes on" in cli("pipelines", "resume", "demo").out
    assert "was not paused" in cli("pipelines", "resume", "demo").out
    cli("pipelines", "pause", "dmo").failed(3, "did you mean 'demo'")
    cli("pipelines", "resume", "dmo").failed(3, "did you mean 'demo'")
    session.execute(
        "INSERT INTO taskplatform.pauses VALUES ('demo', 'breaker', 'it killed 5 pool children')"
    )
    broken = cli("health", "-o", "json")
    assert broken.code == 69
    assert "by its breaker" in _results(broken)["breaker"]["message"]
    assert "pipelines resume demo" in _results(broken)["breaker"]["remedy"]
    assert cli("doctor").code == 1


def test_a_run_of_a_paused_pipeline_waits_and_goes_on(cli: CommandLine, session: Session) -> None:
    """The command sets aside and lets go itself: without any worker the runs tell the truth."""
    run = cli("enqueue", "demo", "--input", '{"task_id": "t"}', "-o", "json").json["id"]
    cli("pipelines", "pause", "demo")
    shown = cli("runs", "show", run, "-o", "json").json
    assert (shown["status"], shown["reason"]) == ("waiting", "paused")
    assert [one["id"] for one in cli("runs", "list", "--status", "waiting", "-o", "json").json] == [
        run
    ]
    cli("runs", "retry", run).failed(1, "pipelines resume")
    cli("pipelines", "resume", "demo")
    assert cli("runs", "show", run, "-o", "json").json["status"] == "queued"
    assert pauses.pauses(session) == []


def test_servers_that_are_away_or_hang_are_down_in_time(
    database_url: str, broker_url: str, silent_port: int
) -> None:
    """F15, F21: the one that hangs is named, the other looked at, within five seconds."""
    hung_redis = f"redis://127.0.0.1:{silent_port}/0"
    hung_postgres = f"postgresql://u:p@127.0.0.1:{silent_port}/x"
    for servers, down in (
        (Endpoints(database_url, hung_redis), "broker"),
        (Endpoints(hung_postgres, broker_url), "database"),
        (Endpoints(hung_postgres, hung_redis), "database"),
        (Endpoints(database_url, "redis://127.0.0.1:1/0"), "broker"),
        (Endpoints("postgresql://127.0.0.1:1/x", broker_url), "database"),
    ):
        began = time.monotonic()
        found = list(command.findings(servers))
        assert time.monotonic() - began < 5
        results = {(one.check, one.result) for one in found}
        assert (down, "failure") in results
        assert len(found) > 1
    assert on(database_url, hung_redis)("health").code == 69


def test_a_connection_limit_that_others_have_used_up_is_told_apart(
    database_url: str,
) -> None:
    """F24: health says which."""
    with limited_role(database_url, limit=2) as url:
        with psycopg.connect(url), psycopg.connect(url):
            (found,) = _in(url, "database")
            assert found.result == "failure"
            assert "too many connections" in found.message
            assert "pg_stat_activity" in str(found.remedy)
        assert _in(url, "database")[0].result == "ok"


def test_a_database_that_only_reads_is_down(cli: CommandLine, database_url: str) -> None:
    name = urlsplit(database_url).path.removeprefix("/")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    result = cli("health", "-o", "json")
    assert result.code == 69
    assert "read-only" in _results(result)["database"]["message"]


def test_a_full_disk_is_noticed(
    database_url: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F22: a look that does write is refused as on a full disk; its space is given back."""
    name = urlsplit(database_url).path.removeprefix("/")
    assert health_checks.disk(session).result == "ok"
    session.execute(f"ALTER DATABASE {name} SET temp_file_limit = '16kB'")
    (limited,) = _in(database_url, "disk")
    assert limited.result == "warning"
    assert "temporary file" in limited.message

    def full(_: Session) -> None:
        raise psycopg.errors.DiskFull("No space left on device")

    monkeypatch.setattr(health, "spill", full)
    assert health_checks.disk(session).result == "failure"


def test_what_is_held_by_nobody_is_suspicious(database_url: str) -> None:
    stage = Stage(database_url)
    stage.runs(3)
    stage.take(2)
    stage.connection.execute(
        "UPDATE taskplatform.holders SET lease_until = clock_timestamp() - interval '40 s'"
    )
    assert health.stuck(stage.connection) == (2, 0)
    (held,) = _in(database_url, "stuck")
    assert (held.result, "2 branches" in held.message) == ("warning", True)
    stage.connection.execute("DELETE FROM taskplatform.work WHERE holder IS NULL")
    assert health.stuck(stage.connection) == (2, 1)
    stage.close()


def test_a_snapshot_that_stays_open_is_named(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F25: who it is, so that somebody can end it."""
    assert _in(database_url, "snapshots") == []
    monkeypatch.setattr(health_checks, "_LONG_SNAPSHOT", 0.0)
    with psycopg.connect(database_url, application_name="report") as connection:
        connection.execute("SELECT 1")
        (found,) = _in(database_url, "snapshots")
        assert "report" in found.message
        assert str(connection.info.backend_pid) in str(found.remedy)


def test_an_old_backlog_is_suspicious(database_url: str) -> None:
    stage = Stage(database_url)
    stage.runs(1)
    assert _in(database_url, "backlog")[0].result == "ok"
    stage.connection.execute(
        "UPDATE taskplatform.runs SET created_at = created_at - interval '1 h'"
    )
    (old,) = _in(database_url, "backlog")
    assert (old.result, "1 h" in old.message) == ("warning", True)
    stage.close()


def test_what_workers_tell_of_themselves_is_judged(session: Session) -> None:
    live(session)
    (one,) = workers.live(session)
    assert one.clock_ahead is not None
    assert abs(one.clock_ahead) < 2
    assert list(health_checks.worker(one)) == []

    def told(silent: float, ahead: float) -> list[str]:
        now = datetime.now(UTC)
        values: tuple[Any, ...] = (
            uuid7(),
            "w",
            "h",
            1,
            "prefork",
            2,
            [],
            [],
            now,
            silent,
            0,
            ahead,
            0.0,
            0,
        )
        return [found.check for found in health_checks.worker(Worker(*values))]

    assert told(9.0, 0.0) == ["workers"]
    assert told(1.0, -7200.0) == ["clock"]


def test_a_broker_that_is_full_is_told() -> None:
    assert is_full({"maxmemory": 100, "used_memory": 100})
    assert not is_full({"maxmemory": 100, "used_memory": 99})
    assert not is_full({"maxmemory": 0, "used_memory": 99})
