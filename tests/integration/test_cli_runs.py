"""`taskplatform runs`, without a worker."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.command_line import COMMAND, CommandLine, on

ORDERS = """
from pydantic import BaseModel
from taskplatform import Pipeline

class Order(BaseModel):
    number: str
    customer: str

order = Pipeline("order", input=Order, key="number", owner="customer")

@order.step
def pack(input: Order) -> str:
    return input.number
"""


@pytest.fixture
def cli(database_url: str, broker_url: str, tmp_path: Path) -> CommandLine:
    (tmp_path / "orders.py").write_text(ORDERS)
    settings = on(database_url, broker_url, pipelines="orders").settings
    return CommandLine(settings, tmp_path)


def _enqueue(cli: CommandLine, number: str, customer: str = "ada", *options: str) -> str:
    data = json.dumps({"number": number, "customer": customer})
    return str(cli("enqueue", "order", "--input", data, "-o", "json", *options).json["id"])


def _ids(cli: CommandLine, *arguments: str) -> list[str]:
    return [run["id"] for run in cli("runs", "list", "-o", "json", *arguments).json]


def test_runs_are_found_by_key_owner_status_and_time(cli: CommandLine) -> None:
    """Q7, W21: each filter finds its runs, newest first."""
    one = _enqueue(cli, "1", "ada")
    two = _enqueue(cli, "2", "bob")
    later = _enqueue(cli, "3", "ada", "--delay", "1h")

    assert _ids(cli) == [later, two, one]
    assert _ids(cli, "--key", "2") == [two]
    assert _ids(cli, "--owner", "ada") == [later, one]
    assert _ids(cli, "--status", "scheduled") == [later]
    assert _ids(cli, "--status", "scheduled", "--status", "queued") == [later, two, one]
    assert _ids(cli, "--pipeline", "order", "--limit", "1", "--after", later) == [two]
    assert _ids(cli, "--pipeline", "other") == []
    assert _ids(cli, "--since", "1h", "--until", "0") == [later, two, one]
    assert _ids(cli, "--since", "2030-01-01") == []
    assert _ids(cli, "--until", "1h") == []


def test_why_says_in_words_what_a_run_waits_for(cli: CommandLine) -> None:
    """Q24: in words for a person, in figures for a program; and of a run that has ended, too."""
    run = _enqueue(cli, "1")
    said = cli("why", run).out
    assert "pack: it is ready, and no worker serves queue taskplatform" in said
    told = cli("why", run, "-o", "json").json
    assert [one["step"] for one in told["waits"]] == ["pack"]
    assert cli("runs", "show", run, "-o", "json").json["waits"] == told["waits"]
    assert "no worker serves queue" in cli("runs", "show", run).out

    cli("runs", "cancel", run)
    assert "it was cancelled at" in cli("why", run).out


def test_a_list_says_what_a_person_looks_for(cli: CommandLine) -> None:
    """Q25: status, start and duration; and how to see the rest."""
    _enqueue(cli, "1")
    second = _enqueue(cli, "2")
    result = cli("runs", "list", "--limit", "1")

    assert re.search(rf"^{second} .*queued .*order .*2 .*ada .*\d\d:\d\d:\d\dZ", result.out, re.M)
    assert f"--after {second}" in result.err
    assert "no such runs" in cli("runs", "list", "--key", "none").err


def test_jsonl_is_a_line_each_in_utc(cli: CommandLine) -> None:
    ids = [_enqueue(cli, number) for number in "12"]
    rows = [json.loads(line) for line in cli("runs", "list", "-o", "jsonl").out.splitlines()]

    assert [row["id"] for row in rows] == ids[::-1]
    assert all(row["created_at"].endswith("Z") for row in rows)


@pytest.mark.parametrize("columns", ["20", "40", "80"])
def test_an_id_is_never_cut(cli: CommandLine, columns: str) -> None:
    run = _enqueue(cli, "x" * 60)
    for arguments in (("runs", "list"), ("runs", "show", run)):
        assert run in cli(*arguments, COLUMNS=columns).out
        shown = _in_terminal(cli, int(columns), *arguments)
        assert run in shown
        if arguments == ("runs", "show", run):
            assert f"runs cancel {run}" in shown


def test_no_color_is_honoured(cli: CommandLine) -> None:
    _enqueue(cli, "1")
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7]")

    assert coloured.search(_in_terminal(cli, 100, "runs", "list"))
    assert not coloured.search(_in_terminal(cli, 100, "runs", "list", NO_COLOR="1"))
    assert "\x1b" not in cli("runs", "list").out


def test_what_does_not_exist_is_exit_3(cli: CommandLine) -> None:
    nobody = "01a20188-c593-775e-b5d9-cedfaeb1b1bd"
    for command in ("show", "watch", "retry", "cancel", "replay"):
        cli("runs", command, nobody).failed(3, nobody)
    cli("runs", "show", "nonsense").failed(3, "nonsense")


def test_cancelling_ends_a_run_once(cli: CommandLine) -> None:
    run = _enqueue(cli, "1")
    first = cli("runs", "cancel", run, "-o", "json")
    second = cli("runs", "cancel", run, "-o", "json")

    assert first.json["status"] == second.json["status"] == "cancelled"
    assert "had ended before" in second.err
    assert cli("runs", "watch", run, "-o", "json").code == 1


def test_a_retry_of_what_did_not_fail_is_refused(cli: CommandLine) -> None:
    run = _enqueue(cli, "1")
    cli("runs", "cancel", run)
    cli("runs", "retry", run).failed(1, "cancelled")


def test_a_replay_is_a_new_run_with_lineage(cli: CommandLine) -> None:
    """Q16: with the same input or another."""
    run = _enqueue(cli, "1")
    data = '{"number": "9", "customer": "eve"}'
    same = cli("runs", "replay", run, "-o", "json").json
    other = cli("runs", "replay", run, "--input", data, "-o", "json").json

    assert same["replay_of"] == other["replay_of"] == run
    assert same["input"] == {"number": "1", "customer": "ada"}
    assert other["owner"] == "eve"
    cli("runs", "replay", run, "--from", "pck").failed(2, "did you mean 'pack'")


def test_without_the_code_runs_are_shown_as_stored(cli: CommandLine) -> None:
    run = _enqueue(cli, "1")
    (cli.folder / "orders.py").write_text("import no_such_module")
    result = cli("runs", "show", run, "-o", "json")

    assert result.json["status"] == "queued"
    assert "no_such_module" in result.err


def test_pipelines_are_described(cli: CommandLine) -> None:
    listed = cli("pipelines", "list", "-o", "json").json
    shown = cli("pipelines", "show", "order", "-o", "json").json

    assert listed == [shown]
    assert [step["task"] for step in shown["steps"]] == ["order.pack"]
    assert set(shown["input_schema"]["properties"]) == {"number", "customer"}
    assert "customer" in cli("pipelines", "show", "order").out
    cli("pipelines", "show", "ordr").failed(3, "did you mean 'order'")


def _in_terminal(cli: CommandLine, columns: int, *arguments: str, **more: str) -> str:
    """What it writes to a terminal of that width."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cli.folder,
        env={**cli.environment, "TERM": "xterm", "COLUMNS": str(columns), **more},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(mine, 65536):
            written += piece
    except OSError:
        # Linux says so when the last writer is gone.
        pass
    os.close(mine)
    assert process.wait(timeout=30) == 0
    return written.decode()


def test_priorities_are_changed_without_a_deploy(cli: CommandLine) -> None:
    """Q13, W17: of a run in line, and of the runs to come of a pipeline."""
    run = _enqueue(cli, "1")
    assert cli("runs", "priority", run, "300", "-o", "json").json["priority"] == 300
    assert cli("pipelines", "priority", "order", "-o", "json", "--", "-300").json == {
        "pipeline": "order",
        "priority": -300,
    }
    low = _enqueue(cli, "2")
    assert "have priority 0" in cli("pipelines", "priority", "order", "--reset").out

    found = {one["id"]: one["priority"] for one in cli("runs", "list", "-o", "json").json}
    assert (found[run], found[low]) == (300, -300)
    cli("runs", "priority", run, str(2**31)).failed(2, "32 bits")
