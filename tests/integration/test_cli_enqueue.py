"""`taskplatform enqueue`, without a worker."""

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.command_line import CommandLine, on


@pytest.fixture
def cli(database_url: str, broker_url: str) -> CommandLine:
    return on(database_url, broker_url)


def _input(**fields: object) -> str:
    return json.dumps({"task_id": "t1", **fields})


def test_it_prints_the_stored_run(cli: CommandLine) -> None:
    """Q30: what is printed is what `runs show` shows."""
    run = cli("enqueue", "demo", "--input", _input(priority=300), "-o", "json").json

    assert run["status"] == "queued"
    assert (run["key"], run["priority"], run["output"]) == ("t1", 300, None)
    assert [step["name"] for step in run["steps"]] == [
        "initialize",
        "process",
        "simulate-delay",
        "simulate-api-call",
        "finalize",
    ]
    assert run["created_at"].endswith("Z")
    assert cli("runs", "show", run["id"], "-o", "json").json == run


def test_the_same_key_is_the_same_run_unless_forced(cli: CommandLine) -> None:
    """Q14: a second submission returns the first run, and says so beside the data."""
    arguments = ("enqueue", "demo", "--input", _input(), "-o", "json")
    first, second = cli(*arguments), cli(*arguments)
    forced = cli(*arguments, "--force")

    assert second.json["id"] == first.json["id"]
    assert "note" not in first.err
    assert "--force" in second.err
    assert forced.json["id"] != first.json["id"]


def test_the_same_request_id_is_the_same_run(cli: CommandLine) -> None:
    arguments = ("enqueue", "demo", "-o", "json", "--request-id", "r1")
    first = cli(*arguments, "--input", _input())
    again = cli(*arguments, "--input", _input())
    other = cli(*arguments, "--input", _input(delay_ms=5))

    assert again.json["id"] == first.json["id"]
    other.failed(1, "request")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{}", ["task_id"]),
        ('{"task_id": 7}', ["task_id"]),
        ('{"task_id": "t1", "delay_ms": -1}', ["delay_ms"]),
        ('{"task_id": ', ["demo"]),
        ("[]", ["demo"]),
    ],
)
def test_a_malformed_input_is_refused_at_once(
    cli: CommandLine, database_url: str, data: str, words: list[str]
) -> None:
    """W12: exit 2, the field is named, nothing is stored."""
    cli("enqueue", "demo", "--input", data).failed(2, *words)

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM taskplatform.runs").fetchone() == (0,)


def test_without_input_it_is_an_empty_object(cli: CommandLine) -> None:
    cli("enqueue", "demo").failed(2, "task_id")


def test_an_unknown_pipeline_is_exit_3_with_the_near_name(cli: CommandLine) -> None:
    cli("enqueue", "dmo").failed(3, "dmo", "did you mean 'demo'")


def test_the_handler_of_an_event_is_no_pipeline_to_enqueue(cli: CommandLine) -> None:
    cli("enqueue", "on:demo/task.failed:log-failed").failed(3, "event")


def test_a_delay_makes_it_due_later(cli: CommandLine) -> None:
    """Q11: delayed by minutes."""
    run = cli("enqueue", "demo", "--input", _input(), "--delay", "5m", "-o", "json").json

    assert run["status"] == "scheduled"
    late = datetime.fromisoformat(run["due_at"]) - datetime.fromisoformat(run["created_at"])
    assert abs(late - timedelta(minutes=5)) < timedelta(seconds=1)


def test_a_moment_makes_it_due_then(cli: CommandLine) -> None:
    """Q11: delayed to a moment, said in any time zone, told in UTC."""
    moment = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    there = moment.replace(tzinfo=None).isoformat() + "+00:00"
    run = cli("enqueue", "demo", "--input", _input(), "--at", there, "-o", "json").json

    assert run["due_at"] == moment.isoformat().replace("+00:00", "Z")


def test_a_moment_without_a_time_zone_is_a_usage_error(cli: CommandLine) -> None:
    cli("enqueue", "demo", "--at", "2030-01-01T10:00:00").failed(2, "time zone")


def test_the_input_from_a_file_or_from_stdin(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text(_input(task_id="from-file"))

    from_file = cli("enqueue", "demo", "--input", f"@{file}", "-o", "json").json
    stdin = _input(task_id="müsli")
    from_stdin = cli("enqueue", "demo", "--input", "-", "-o", "jsonl", input=stdin).json

    assert from_file["key"] == "from-file"
    assert from_stdin["key"] == "müsli"
    cli("enqueue", "demo", "--input", "@no-such-file").failed(2, "no-such-file")


def test_a_wait_that_times_out_is_exit_124_and_shows_the_run(cli: CommandLine) -> None:
    arguments = ("enqueue", "demo", "--input", _input(), "--wait", "--timeout", "300ms")
    result = cli(*arguments, "-o", "json")

    result.failed(124, "goes on", "runs watch")
    assert json.loads(result.out)["status"] == "queued"


def test_an_interrupted_wait_is_exit_130_and_the_run_goes_on(cli: CommandLine) -> None:
    with cli.started("enqueue", "demo", "--input", _input(), "--wait") as process:
        while not cli("runs", "list", "-o", "json").json:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert "the run goes on" in err
    assert cli("runs", "list", "-o", "json").json[0]["status"] == "queued"
