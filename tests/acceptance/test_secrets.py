"""A27, I14: a secret that is put in anywhere is found nowhere, and every body is given it."""

import asyncio
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from celery import Celery, chain
from psycopg import sql

import taskplatform
from taskplatform import Run, enqueue_many, get_run, send_event, testing
from taskplatform.errors import RunFailed
from taskplatform.settings import get_settings
from taskplatform.storage.connection import connect
from tests.acceptance import guarded
from tests.acceptance.guarded import digest
from tests.acceptance.processes import wait_for, worker
from tests.command_line import CommandLine, Result

Env = dict[str, str]
# A part of every secret of this test, and of nothing else.
MARK = f"canary{secrets.token_hex(8)}"


class Outputs:
    """All that can be seen from outside."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, text: object) -> None:
        self.texts[where] = self.texts.get(where, "") + str(text)

    def found(self) -> list[str]:
        """Where a secret is, with what stands around it."""
        hits = []
        for where, text in self.texts.items():
            at = text.find(MARK)
            if at >= 0:
                hits.append(
                    f"{where} ({text.count(MARK)} times): {text[max(0, at - 200) : at + 80]!r}"
                )
        return hits


@pytest.fixture
def guarded_env(env: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Env:
    more = {
        "TASKPLATFORM_PIPELINES": "tests.acceptance.guarded",
        "TASKPLATFORM_SECRET_KEYS": secrets.token_urlsafe(64),
        "TASKPLATFORM_STEP_LOG_LEVEL": "DEBUG",
        "GUARDED_LEDGER": str(tmp_path / "ledger"),
    }
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return {**env, **more}


def given(env: Env, order: str, **more: Any) -> dict[str, Any]:
    """An input with a secret in each place."""
    return {
        "ledger": env["GUARDED_LEDGER"],
        "order": order,
        "pin": f"{MARK}-pin\n'second line\"",
        "raw": f"{MARK}-raw",
        "password": f"{MARK}-password",
        "dsn": f"postgresql://user:{MARK}-dsn@host:5432/db",
        "headers": {"Authorization": f"Bearer {MARK}-bearer", "X-Api-Key": f"{MARK}-header"},
        "free": {"accessToken": f"{MARK}-free", "client_secret": f"{MARK}-" + "long" * 60},
        "items": [{"name": one, "api_key": f"{MARK}-item-{one}"} for one in ("a", "b", "c")],
        **more,
    }


@contextmanager
def monitored(broker_url: str, seen: Outputs) -> Iterator[None]:
    """Every command that Redis is given meanwhile."""
    client = redis.Redis.from_url(broker_url)
    own = str(client.get_connection_kwargs()["db"])
    ended = threading.Event()

    def listen(monitor: Any) -> None:
        while True:
            command = monitor.next_command()
            # A server tells of all its databases, and other tests use the others.
            if str(command["db"]) != own:
                continue
            seen.add("redis monitor", command["command"] + "\n")
            if "the end of the monitor" in command["command"]:
                ended.set()
                return

    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        thread = threading.Thread(target=listen, args=(monitor,), daemon=True)
        thread.start()
        yield
        client.echo("the end of the monitor")
        assert ended.wait(60)


@contextmanager
def flower(broker_url: str, seen: Outputs) -> Iterator[list[dict[str, Any]]]:
    """Celery's events, as Flower receives them."""
    app = Celery(broker=broker_url)
    events: list[dict[str, Any]] = []
    ready = threading.Event()
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})

        receiver.should_stop = False

        def listen() -> None:
            ready.set()
            while not receiver.should_stop:
                try:
                    receiver.capture(limit=None, timeout=0.5, wakeup=False)
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        assert ready.wait(10)
        yield events
        receiver.should_stop = True
        thread.join(10)
    seen.add("celery events", json.dumps(events, default=str))


def dump_database(url: str, seen: Outputs, when: str) -> None:
    """Every row of every table, as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'taskplatform'"
        ).fetchall()
        assert len(tables) > 8
        for (table,) in tables:
            rows = connection.execute(
                sql.SQL("SELECT t::text FROM taskplatform.{} t").format(sql.Identifier(table))
            ).fetchall()
            seen.add(f"table {table} {when}", "\n".join(row for (row,) in rows))


def dump_broker(url: str, seen: Outputs, when: str) -> None:
    """Every key of Redis, with what it holds."""
    client = redis.Redis.from_url(url)
    for key in client.scan_iter():
        match client.type(key):
            case b"string":
                value: Any = client.get(key)
            case b"list":
                value = client.lrange(key, 0, -1)
            case b"hash":
                value = client.hgetall(key)
            case b"set":
                value = client.smembers(key)
            case b"zset":
                value = client.zrange(key, 0, -1, withscores=True)
            case b"stream":
                value = client.xrange(key)
            case other:
                raise AssertionError(f"{key!r} is a {other!r}")
        seen.add(f"redis {when}", f"{key!r} {value!r}\n")


def told(seen: Outputs, name: str, result: Result) -> Result:
    seen.add(f"command {name}", result.out + result.err)
    return result


@pytest.mark.timeout(400)
def test_a_canary_is_found_nowhere(guarded_env: Env, log: Path, tmp_path: Path) -> None:
    """A27, I14. The positive control: every body wrote down the hash of what it was given."""
    env, seen = guarded_env, Outputs()
    url, broker = env["TASKPLATFORM_DATABASE_URL"], env["TASKPLATFORM_BROKER_URL"]
    command = CommandLine(
        {
            name.removeprefix("TASKPLATFORM_").lower(): value
            for name, value in env.items()
            if name.startswith("TASKPLATFORM_")
        }
    )
    with monitored(broker, seen), flower(broker, seen) as events:
        with worker(env, log, "-c", "2", "-E", "-l", "DEBUG"):
            runs = full_runs(env, url, seen)
            dump_database(url, seen, "meanwhile")
            dump_broker(broker, seen, "meanwhile")
            runs += other_ways(env, url, broker)
            commands(command, env, runs, seen)
            for run in runs:
                wait_for(lambda run=run: run.refresh().status != "queued", 60, f"{run}")  # type: ignore[misc]
                seen.add("repr", repr(run) + repr(run.view()) + run.view().model_dump_json())
            wait_for(lambda: any(one["type"] == "task-succeeded" for one in events), 30, "events")
            wait_for(lambda: "completed" in places(env), 30, "the handler")
            wait_for(lambda: "after {" in log.read_text(), 30, "what follows in the canvas")
        dump_database(url, seen, "in the end")
        dump_broker(broker, seen, "in the end")
    seen.add("worker", log.read_text())
    check_that_bodies_saw(env)
    for part in ("worker", "celery events", "redis monitor", "table runs in the end"):
        assert len(seen.texts[part]) > 500, part
    assert "***" in seen.texts["worker"]
    assert "***" in seen.texts["table step_attempts in the end"]
    assert seen.found() == []


def full_runs(env: Env, url: str, seen: Outputs) -> list[Run[Any]]:
    """One that ends well, one that fails, is retried and replayed."""
    good = guarded.guarded.enqueue(given(env, "o1"))
    bad = guarded.guarded.enqueue(guarded.Login(**given(env, "o2", fail=True)))
    for run in (good, bad):
        wait_for(lambda run=run: run.refresh().reason == "event", 60, f"{run} waits")  # type: ignore[misc]
    dump_database(url, seen, "waiting")
    for order in ("o1", "o2"):
        send_event("guarded.approved", {"order": order, "code": f"{MARK}-code"})
    good.wait(60)
    assert good.status == "succeeded", good.view()
    assert good.output.token.get_secret_value() == f"{MARK}-password-token"
    assert get_run(good.id).output == good.output
    bad.wait(60)
    with pytest.raises(RunFailed) as raised:
        _ = bad.output
    seen.add("RunFailed", raised.value)
    bad.retry().wait(60)
    again = bad.replay(from_step="last")
    other = bad.replay(from_step="inside", input=given(env, "o3", password=f"{MARK}-other"))
    for run in (again, other):
        run.wait(60)
    assert (again.status, other.status) == ("failed", "succeeded")
    return [good, bad, again, other]


def other_ways(env: Env, url: str, broker: str) -> list[Run[Any]]:
    """All the other doors."""
    short = guarded.short
    runs = enqueue_many(short, [given(env, "many-1"), given(env, "many-2")])
    with connect(url) as connection, connection.transaction():
        runs.append(short.enqueue(given(env, "connection"), connection=connection))
    runs.append(asyncio.run(short.aenqueue(given(env, "async"))))
    runs.append(short.enqueue(json.dumps(given(env, "json")), request_id="r1"))
    assert short.enqueue(given(env, "json"), request_id="r1").id == runs[-1].id
    held = short.enqueue(given(env, "canvas"), hold=True)
    taskplatform.app.loader.import_default_modules()
    chain(short.canvas(held), guarded.after.s(), app=taskplatform.app).apply_async()
    return [*runs, held]


def commands(command: CommandLine, env: Env, runs: list[Run[Any]], seen: Outputs) -> None:
    """What people and scripts see."""
    text = json.dumps(given(env, "cli"))
    done = told(
        seen,
        "enqueue",
        command("enqueue", "guarded-short", "--input", text, "--wait", "-o", "json"),
    )
    assert done.json["output"] == {"token": "***", "note": "quick"}
    wrong: list[dict[str, Any]] = [
        {"pin": [f"{MARK}-wrong"]},
        {"password": {"a": f"{MARK}-wrong"}},
        {"fail": f"{MARK}", "password": 3},
        {"items": [{"name": "a", "api_key": {"x": f"{MARK}-wrong"}}]},
    ]
    for more in wrong:
        result = command("enqueue", "guarded-short", "--input", json.dumps(given(env, "w", **more)))
        assert told(seen, "wrong input", result).code == 2
    for broken in (text[:-1], text + "}"):
        result = command("enqueue", "guarded-short", "--input", broken)
        assert told(seen, "no JSON", result).code == 2
    event = json.dumps({"order": "none", "code": f"{MARK}-sent"})
    told(seen, "events send", command("events", "send", "guarded.approved", "--data", event))
    bad = json.dumps({"order": "none", "code": [f"{MARK}-sent"]})
    told(seen, "events send", command("events", "send", "guarded.approved", "--data", bad))
    for form in ("table", "json", "jsonl"):
        told(seen, "runs show", command("runs", "show", str(runs[1].id), "-o", form))
        told(seen, "runs list", command("runs", "list", "-o", form))
        told(seen, "runs watch", command("runs", "watch", str(runs[0].id), "-o", form))
    for form in ("table", "json"):
        for words in (["config", "show"], ["doctor"], ["pipelines", "plan"]):
            told(seen, " ".join(words), command(*words, "-o", form))
    told(seen, "pipelines show", command("pipelines", "show", "guarded"))
    told(seen, "runs replay", command("runs", "replay", str(runs[0].id), "--from-step", "last"))
    told(seen, "runs retry", command("runs", "retry", str(runs[1].id)))
    key = env["TASKPLATFORM_SECRET_KEYS"]
    assert key not in "".join(seen.texts.values())


def places(env: Env) -> set[str]:
    return {place for place, _ in seen_by_bodies(env)}


def seen_by_bodies(env: Env) -> set[tuple[str, str]]:
    lines = Path(env["GUARDED_LEDGER"]).read_text().splitlines()
    return {(line.split()[0], line.split()[1]) for line in lines}


def check_that_bodies_saw(env: Env) -> None:
    """The secrets as they were put in, in every kind of step and by every way in."""
    all_of_them = guarded.Login(**given(env, "x")).secrets
    expected = {(f"login-{attempt}", one) for attempt in (1, 2) for one in all_of_them}
    expected |= {
        (f"short-{order}", one)
        for order in ("many-1", "many-2", "connection", "async", "json", "canvas", "cli")
        for one in all_of_them
    }
    items = [f"{MARK}-item-{one}" for one in ("a", "b", "c")]
    token, code = f"{MARK}-password-token", f"{MARK}-code"
    expected |= {("item", one) for one in items} | {("async", f"{one}-out") for one in items}
    expected |= {
        ("child", token + code),
        ("transaction", token + code),
        ("last", code),
        ("completed", f"{MARK}-password"),
        ("completed", token),
        ("approved", code),
        ("approved", f"{MARK}-sent"),
    }
    known = seen_by_bodies(env)
    assert {(place, one) for place, one in expected if (place, digest(one)) not in known} == set()


def test_a_run_in_process_is_given_them(guarded_env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any key: `testing.run` has one of its own."""
    del guarded_env["TASKPLATFORM_SECRET_KEYS"]
    monkeypatch.delenv("TASKPLATFORM_SECRET_KEYS")
    get_settings.cache_clear()
    with psycopg.connect(guarded_env["TASKPLATFORM_DATABASE_URL"]) as connection:
        tested = testing.run(
            guarded.guarded,
            given(guarded_env, "t1"),
            events=[("guarded.approved", {"order": "t1", "code": f"{MARK}-code"})],
            connection=connection,
            handlers=True,
        )
    assert tested.status == "succeeded", tested
    assert tested.output.token.get_secret_value() == f"{MARK}-password-token"
    assert {"login-1", "login-2", "item", "child", "async", "transaction", "last", "completed"} <= (
        places(guarded_env)
    )
