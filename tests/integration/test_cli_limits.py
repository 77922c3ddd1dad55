"""`taskplatform concurrency` and `taskplatform breakers`: what is taken, and changes that last."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from taskplatform.storage import breakers, slots, usage, workers
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.slots import Asking
from tests.command_line import CommandLine, on
from tests.integration.races.stage import Stage


@pytest.fixture
def cli(database_url: str, broker_url: str) -> CommandLine:
    return on(database_url, broker_url, pipelines="tests.acceptance.scarce")


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    with closing(connect(database_url)) as one:
        yield one


def take(stage: Stage, gate: str, many: int) -> None:
    stage.runs(many)
    for one in stage.take(many):
        with stage.connection.transaction():
            asking = Asking(one.work_id, one.run_id, one.epoch)
            assert slots.take(stage.connection, asking, {gate: 3}) is None


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{row['name']}[{row.get('key', '')}]": row for row in rows}


def test_limits_are_told_set_and_reset(cli: CommandLine, database_url: str) -> None:
    """Q9, W15: by key, declared or not; remembered, and stronger than what is declared."""
    stage = Stage(database_url)
    take(stage, "concurrency:few:a", 2)
    take(stage, "concurrency:gone:", 1)
    found = by_name(cli("concurrency", "list", "-o", "json").json)
    assert set(found) == {"few[a]", "gone[]", "one[]"}
    assert (found["few[a]"]["taken"], found["few[a]"]["most"]) == (2, 3)
    assert (found["one[]"]["taken"], found["one[]"]["most"]) == (0, 1)
    assert "2/3" in cli("concurrency", "list").out

    assert cli("concurrency", "set", "few", "7", "-o", "json").json == {"name": "few", "most": 7}
    found = by_name(cli("concurrency", "list", "-o", "json").json)
    assert found["few[a]"]["most"] == 7
    assert found["few[a]"]["changed_at"] is not None
    assert cli("concurrency", "reset", "few", "-o", "json").json == {"name": "few", "most": 3}
    cli("concurrency", "set", "fwe", "7").failed(3, "fwe", "did you mean 'few'")
    assert cli("concurrency", "set", "few", "-1").code == 2
    stage.close()


def test_who_has_a_slot_is_told(database_url: str) -> None:
    """Q9: the run, the step, the worker, since when."""
    stage = Stage(database_url)
    worker = uuid4()
    workers.report(
        stage.connection, id=worker, name="w", host="h", pid=1, pool="solo", concurrency=1,
        queues=["q"], pipelines=["p"],
    )  # fmt: skip
    take(stage, "concurrency:few:a", 1)
    stage.connection.execute("UPDATE taskplatform.holders SET worker = %s", (worker,))
    (run,) = stage.runs(1)
    (claimed,) = stage.take(1)
    asked = [(Asking(claimed.work_id, run), {"concurrency:few:a": 3})]
    assert slots.take_for_runs(stage.connection, asked) == [None]
    body, whole = usage.takers(stage.connection, "concurrency:few:a")
    assert (body.pipeline, body.step, body.worker) == ("p", "a", "w")
    assert (whole.run_id, whole.step, whole.worker) == (run, None, None)
    stage.close()


def test_breakers_are_told_opened_and_closed(cli: CommandLine, session: Session) -> None:
    """W14: also one that was never used; for a time, or until somebody closes it."""
    (told,) = cli("breakers", "list", "-o", "json").json
    assert (told["name"], told["state"], told["waiting"]) == ("api", "closed", 0)
    told = cli("breakers", "open", "api", "--why", "they are down", "-o", "json").json
    assert (told["state"], told["until"], told["why"]) == ("open", None, "they are down")
    assert "open until it is closed by hand" in cli("breakers", "list").out
    told = cli("breakers", "open", "api", "--for", "10m", "-o", "json").json
    assert told["until"] is not None
    assert breakers.not_closed(session)["api"].seconds == pytest.approx(600, abs=60)
    assert "api is closed" in cli("breakers", "close", "api").out
    assert "api was closed" in cli("breakers", "close", "api").out
    cli("breakers", "close", "apy").failed(3, "apy", "did you mean 'api'")
