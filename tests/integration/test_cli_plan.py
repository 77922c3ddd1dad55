"""`taskplatform pipelines plan`, `pipelines show` and `events send`, without a worker."""

import json
from pathlib import Path

import pytest

from taskplatform.storage.connection import connect
from tests.command_line import CommandLine, on

HEAD = """
from pydantic import BaseModel
from taskplatform import Pipeline

class Order(BaseModel):
    number: str
    parts: list[str] = []

order = Pipeline("order", input=Order)
"""
PACK = """
@order.step
def pack(input: Order) -> str:
    return input.number
"""
OTHER = """
class Order(BaseModel):
    colour: str

order = Pipeline("order", input=Order)

@order.step
def pack(input: Order) -> str:
    return input.colour
"""
SHAPES = """
class Approval(BaseModel):
    by: str

other = Pipeline("other", input=Order)

@other.step
def only(input: Order) -> str:
    return ""

def unpack(pack: str) -> None: ...

@order.step(compensate=unpack, version=3)
def pack(input: Order) -> str:
    return ""

@order.map(over="parts", max_parallel=4, on_item_error="collect", group="both")
def each(item: str) -> str:
    return item

order.sleep("cool-down", "3d", group="both")
order.wait("approval", event="order.approved", match="number", timeout="7d", model=Approval)

def made(input: Order) -> Order:
    return input

order.child("enrich", other, input=made)
"""


@pytest.fixture
def cli(database_url: str, broker_url: str, tmp_path: Path) -> CommandLine:
    (tmp_path / "orders.py").write_text(HEAD + PACK)
    return CommandLine(on(database_url, broker_url, pipelines="orders").settings, tmp_path)


def _enqueue(cli: CommandLine) -> str:
    return str(cli("enqueue", "order", "--input", '{"number": "1"}', "-o", "json").json["id"])


def test_a_plan_is_a_page_an_object_or_lines(cli: CommandLine) -> None:
    """With nothing to park the exit code is 0."""
    assert "no runs in flight" in cli("pipelines", "plan").err
    runs = [_enqueue(cli), _enqueue(cli)]
    page = cli("pipelines", "plan")
    assert page.code == 0
    assert "2 runs of order  (2 queued)\n  execute pack\n" in page.out
    assert "2 runs, none would park" in page.out
    data = cli("pipelines", "plan", "order", "-o", "json").json
    assert (data["runs"], data["parks"], data["plans"][0]["example"]) == (2, 0, runs[0])
    lines = cli("pipelines", "plan", "--limit", "1", "-o", "jsonl")
    assert [json.loads(line)["id"] for line in lines.out.splitlines()] == runs[:1]


def test_what_would_park_is_exit_1(cli: CommandLine) -> None:
    """Whatever the form, so that CI can stop there."""
    _enqueue(cli)
    (cli.folder / "orders.py").write_text(HEAD.partition("class")[0] + OTHER)
    page = cli("pipelines", "plan")
    assert page.code == 1
    assert "park    step pack cannot read the stored input: colour: Field required" in page.out
    assert "1 run, 1 would park" in page.out
    assert cli("pipelines", "plan", "-o", "json").code == 1
    assert cli("pipelines", "plan", "-o", "jsonl").code == 1
    assert cli("pipelines", "plan", "--status", "waiting").code == 0


def test_a_pipeline_that_exists_nowhere_is_exit_3(cli: CommandLine) -> None:
    """But runs of one that was deleted are planned."""
    cli("pipelines", "plan", "ordr").failed(3, "did you mean 'order'")
    _enqueue(cli)
    (cli.folder / "orders.py").write_text((HEAD + PACK).replace('"order"', '"other"'))
    page = cli("pipelines", "plan", "order")
    assert page.code == 0
    assert "no code here: it would wait for a worker that knows it" in page.out


def test_pipelines_show_tells_the_shapes(cli: CommandLine) -> None:
    (cli.folder / "orders.py").write_text(HEAD + SHAPES)
    page = cli("pipelines", "show", "order").out
    for words in (
        "is compensated; version 3",
        "maps over parts, 4 at once, errors collected; in group both",
        "sleeps 3 d; in group both",
        "waits for order.approved with the run's number, at most 7 d",
        "runs other",
    ):
        assert words in page
    steps = {
        one["name"]: one for one in cli("pipelines", "show", "order", "-o", "json").json["steps"]
    }
    assert [one["kind"] for one in steps.values()] == ["body", "map", "sleep", "wait", "child"]
    assert steps["each"]["map"] == {"over": "parts", "max_parallel": 4, "on_item_error": "collect"}
    assert steps["cool-down"]["sleep"] == 3 * 86400
    assert steps["approval"]["wait"]["match"] == "number"
    assert steps["enrich"]["child"] == "other"
    assert steps["pack"]["compensation"] == "pack:compensate"


def test_an_event_is_sent_once(cli: CommandLine, database_url: str, tmp_path: Path) -> None:
    """From an argument, a file or stdin; its id is printed; the same id is the same event."""
    sent = cli("events", "send", "order.approved", "--data", '{"by": "ada"}', "-o", "json").json
    same = cli("events", "send", "order.approved", "--id", sent["id"]).out.strip()
    assert same == sent["id"]
    (tmp_path / "data.json").write_text('{"by": "bob"}')
    cli("events", "send", "order.approved", "--data", "@data.json")
    assert cli("events", "send", "order.approved", "--data", "-", input='{"by": "eve"}').code == 0
    with connect(database_url, pinned=False) as session:
        rows = session.execute("SELECT data ->> 'by' FROM taskplatform.events ORDER BY 1")
        assert rows.fetchall() == [("ada",), ("bob",), ("eve",)]


def test_an_event_that_cannot_be_is_a_usage_error(cli: CommandLine) -> None:
    """Also when a wait that is declared here could not read it."""
    cli("events", "send", "order.approved", "--data", "[1").failed(2, "order.approved")
    cli("events", "send", "order approved").failed(2, "order approved")
    assert cli("events", "send", "x", "--id", "7").code == 2
    (cli.folder / "orders.py").write_text(HEAD + SHAPES)
    cli("events", "send", "order.approved", "--data", "{}").failed(2, "order.approval", "by")
