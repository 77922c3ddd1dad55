"""How long a supervisor gives the living time to renew, after it was without a database."""

import psycopg
import pytest

from taskplatform.storage import health
from taskplatform.storage.connection import Session
from taskplatform.storage.leases import LEASE_SECONDS
from taskplatform.supervisor import session
from taskplatform.supervisor.session import Database


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0
    server_started = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(session, "monotonic", clock)
    monkeypatch.setattr(health, "up_for", lambda _: clock.now - clock.server_started)
    return clock


def lose(_: Session) -> int:
    raise psycopg.OperationalError("gone")


def answer(connection: Session) -> int:
    row = connection.execute("SELECT 7").fetchone()
    assert row is not None
    return int(row[0])


def test_a_connection_lost_now_and_then_does_not_keep_from_rescuing(
    database_url: str, clock: Clock
) -> None:
    """G5: each loss put rescue off by a lease, so one every ten seconds put it off for ever."""
    database = Database(database_url, "test")
    for _ in range(3):
        database.ask(lose, None)
        assert database.reap_from > clock.now
        clock.now += 1.0
        assert database.ask(answer, None) == 7
        assert database.reap_from <= clock.now
    database.ask(Session.close, None)


def test_after_an_outage_a_lease_passes_before_anybody_is_given_up(
    database_url: str, clock: Clock
) -> None:
    """F19: also when a blip follows it: those who could not renew are alive."""
    database = Database(database_url, "test")
    for _ in range(12):
        database.ask(lose, None)
        clock.now += 1.0
    clock.now += 5.0
    assert database.ask(answer, None) == 7
    reap_from = database.reap_from
    assert clock.now < reap_from <= clock.now + LEASE_SECONDS
    database.ask(lose, None)
    clock.now += 1.0
    assert database.ask(answer, None) == 7
    assert database.reap_from == reap_from
    database.ask(Session.close, None)


def test_a_supervisor_that_comes_after_the_outage_waits_as_long(
    database_url: str, clock: Clock
) -> None:
    """F19: it saw nothing of it; the server says since when it is up."""
    clock.server_started = clock.now - 4.0
    database = Database(database_url, "test")
    assert database.ask(answer, None) == 7
    assert database.reap_from == clock.now + LEASE_SECONDS - 4.0
    # A blip of its own neither shortens nor lengthens that.
    database.ask(lose, None)
    clock.now += 1.0
    assert database.ask(answer, None) == 7
    assert database.reap_from == clock.now - 1.0 + LEASE_SECONDS - 4.0
    database.ask(Session.close, None)


def test_a_supervisor_of_a_server_that_has_been_up_for_long_rescues_at_once(
    database_url: str, clock: Clock
) -> None:
    database = Database(database_url, "test")
    assert database.ask(answer, None) == 7
    assert database.reap_from <= clock.now
    database.ask(Session.close, None)


def test_the_server_says_how_long_it_has_been_up(database_url: str) -> None:
    database = Database(database_url, "test")
    first, second = (database.ask(health.up_for, None) for _ in range(2))
    assert first is not None
    assert second is not None
    assert 0 < first < second < first + 60
    database.ask(Session.close, None)
