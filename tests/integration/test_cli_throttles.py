"""`taskplatform throttles`, and what limits tell of themselves over time."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from taskplatform.storage import clock, throttle_history, throttles
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.throttles import Grant, Wanted
from tests.command_line import CommandLine, on

PIPELINES = """
from pydantic import BaseModel
from taskplatform import Pipeline, Throttle

class Call(BaseModel):
    tenant: str

call = Pipeline("call", input=Call)

@call.step(throttle=[Throttle("api", limit=5, per="1m"), Throttle("each", 2, "1h", key="tenant")])
def ask(input: Call) -> str:
    return input.tenant
"""


@pytest.fixture
def cli(database_url: str, broker_url: str, tmp_path: Path) -> CommandLine:
    (tmp_path / "limited.py").write_text(PIPELINES)
    return CommandLine(on(database_url, broker_url, pipelines="limited").settings, tmp_path)


def take(session: Session, weight: int = 1, name: str = "api", scope: str = "") -> bool:
    limit, window = (5, 60.0) if name == "api" else (2, 3600.0)
    wanted = [Wanted(name, scope, limit, window, weight)]
    return isinstance(throttles.ask(session, wanted), Grant)


def test_limits_are_listed_set_paused_and_reset(cli: CommandLine, database_url: str) -> None:
    """Q8, Q9, C4: what is used, of what is declared and of what is in force; remembered."""
    listed = cli("throttles", "list", "-o", "json").json
    assert [(one["name"], one["effective_limit"], one["used"]) for one in listed] == [
        ("api", 5, 0),
        ("each", 2, 0),
    ]
    with closing(connect(database_url)) as session:
        assert take(session, 3)
        assert take(session, name="each", scope="t1")

        cli("throttles", "set", "api", "--limit", "3", "--per", "2m")
        assert not take(session)
        (one,) = cli("throttles", "list", "api", "-o", "json").json
        assert (one["limit"], one["per"]) == (5, 60.0)
        assert (one["effective_limit"], one["effective_per"], one["used"]) == (3, 120.0, 3)

        cli("throttles", "reset", "api")
        assert take(session)
        cli("throttles", "set", "api", "--pause", "1h")
        assert not take(session)
        assert cli("throttles", "list", "api", "-o", "json").json[0]["paused_why"] == "by hand"
        cli("throttles", "reset", "api")
        assert take(session)

        cli("throttles", "set", "each", "--pause", "1h", "--scope", "t1")
        assert not take(session, name="each", scope="t1")
        assert take(session, name="each", scope="t2")
    table = cli("throttles", "list").out
    assert "5/5" in table
    assert "by hand" in table
    assert [one["scope"] for one in cli("throttles", "list", "each", "-o", "json").json] == [
        "t1",
        "t2",
    ]


def test_what_is_wrong_is_said(cli: CommandLine) -> None:
    """Q12: with what to do."""
    nothing = cli("throttles", "set", "api")
    assert nothing.code == 2
    assert "give --limit" in nothing.err
    missing = cli("throttles", "set", "apis", "--limit", "1")
    assert missing.code == 3
    assert "there is no throttle 'apis'" in missing.err
    assert cli("throttles", "reset", "nothing").code == 3
    assert cli("throttles", "set", "api", "--per", "0").code == 2


def test_what_was_granted_is_kept_by_minute(cli: CommandLine, database_url: str) -> None:
    """Q9: now and over time; slices that count no more are added up and go."""
    with closing(connect(database_url)) as session:
        since = datetime.now(UTC) - timedelta(days=2)
        assert take(session, 4)
        assert [one.granted for one in throttle_history.minutes(session, "api", since)] == [4]
        clock.advance(session, 600.0)
        assert take(session, 2)
        throttle_history.roll_up(session)
        left = session.execute("SELECT weight FROM taskplatform.throttle_slices").fetchall()
        assert left == [(2,)]
        assert [one.granted for one in throttle_history.minutes(session, "api", since)] == [4, 2]
        rows = cli("throttles", "history", "api", "--since", "2d", "-o", "json").json
        assert [row["granted"] for row in rows] == [4, 2]

        # Of a limit that nobody asks any more nothing is left after a week.
        clock.advance(session, 600.0)
        throttle_history.roll_up(session)
        assert take(session, 5)
        clock.advance(session, 8 * 86400.0)
        throttle_history.roll_up(session)
        clock.advance(session, 8 * 86400.0)
        throttle_history.roll_up(session)
        for table in ("throttle_buckets", "throttle_slices"):
            row = session.execute(f"SELECT count(*) FROM taskplatform.{table}").fetchone()
            assert row == (0,), table
        row = session.execute("SELECT count(*) FROM taskplatform.throttle_history").fetchone()
        assert row == (0,)
