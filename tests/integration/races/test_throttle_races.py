"""G8, Q22: never more grants than the limit in any window of its length, whoever asks."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.core.outcome import Failed, Outcome, Succeeded, Withheld
from taskplatform.core.pipeline import Declaration
from taskplatform.core.throttle import Throttle
from taskplatform.middleware import StepAttempt
from taskplatform.middleware.throttle import throttle
from taskplatform.storage.connection import Session
from taskplatform.storage.throttles import VALID_SHARE, grant
from tests.integration.races.stage import Stage, wait_until

HISTORY = """
CREATE TABLE grants (name text, at timestamptz);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO grants VALUES (NEW.name, NEW.granted_at);
    RETURN NEW;
END $$;
CREATE TRIGGER note AFTER UPDATE ON taskplatform.throttle_slots
FOR EACH ROW EXECUTE FUNCTION note();
"""


def granted_at(stage: Stage, name: str = "api") -> list[float]:
    """When the throttle granted, by the database clock, in seconds."""
    return [
        float(at)
        for (at,) in stage.rows(
            "SELECT extract(epoch FROM at) FROM grants WHERE name = %s ORDER BY at", name
        )
    ]


def most_in_a_window(times: list[float], window: float) -> int:
    """The most grants that any window of that length holds, wherever it begins."""
    return max(sum(start <= at < start + window for at in times) for start in times)


def ask(session: Session, limit: int, window: float, name: str = "api") -> bool:
    return grant(session, name=name, scope="", limit=limit, window=window).slot is not None


def storm(stage: Stage, limit: Callable[[int], int], window: float, grants: int) -> None:
    """Twenty sessions ask without a pause until there are so many grants in all."""
    start = threading.Barrier(20)
    sessions = [stage.session() for _ in range(20)]
    enough = threading.Event()
    given: list[int] = []

    def insist(number: int) -> None:
        start.wait()
        while not enough.is_set():
            if ask(sessions[number], limit(number), window):
                given.append(number)
            if len(given) >= grants:
                enough.set()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(insist, range(20)))


@pytest.mark.timeout(60)
def test_twenty_sessions_never_exceed_the_limit_in_any_window(stage: Stage) -> None:
    """G8, F38: also from nothing, when none of the slots exists yet."""
    stage.connection.execute(HISTORY)

    storm(stage, lambda _: 5, 0.5, 21)

    times = granted_at(stage)
    assert len(times) >= 21
    assert most_in_a_window(times, 0.5 * (1 + VALID_SHARE)) == 5
    # Sliding: and yet all of it is granted, in the time that it takes.
    assert times[20] - times[0] < 4 * 0.5 * (1 + VALID_SHARE) + 0.4


def test_a_window_slides(stage: Stage) -> None:
    """G8: the grants of the end of one calendar window count against the next."""
    stage.connection.execute(HISTORY)
    assert ask(stage.connection, 2, 0.4)
    wait_until(lambda: stage.value("SELECT clock_timestamp() > max(at) + '0.3 s' FROM grants"))
    assert ask(stage.connection, 2, 0.4)
    assert not ask(stage.connection, 2, 0.4)

    wait_until(lambda: ask(stage.connection, 2, 0.4))
    assert not ask(stage.connection, 2, 0.4)
    first, second, third = granted_at(stage)
    assert 0.4 <= third - first < 0.55
    assert third - second < 0.4


def test_a_refusal_says_when_to_come_back(stage: Stage) -> None:
    """G6: neither early nor late; a grant at that time is given."""
    assert ask(stage.connection, 1, 0.3)

    refused = grant(stage.connection, name="api", scope="", limit=1, window=0.3)

    assert refused.slot is None
    assert 0.2 < refused.seconds <= 0.3 * (1 + VALID_SHARE)
    late = f"SELECT clock_timestamp() >= granted_at + '{0.3 * (1 + VALID_SHARE)} s'"
    wait_until(lambda: stage.value(late + " FROM taskplatform.throttle_slots"))
    assert ask(stage.connection, 1, 0.3)


def test_a_refusal_beside_grants_in_flight_is_short(stage: Stage) -> None:
    """A slot that another transaction holds may come back at once, when that one is refused."""
    assert ask(stage.connection, 1, 0.001)
    wait_until(lambda: ask(stage.connection, 1, 0.001))
    other = stage.session()
    wait_until(
        lambda: stage.value(
            "SELECT granted_at < clock_timestamp() - interval '10 ms'"
            " FROM taskplatform.throttle_slots"
        )
    )
    with other.transaction(force_rollback=True):
        assert ask(other, 1, 0.001)
        refused = grant(stage.connection, name="api", scope="", limit=1, window=0.001)

    assert (refused.slot, refused.seconds) == (None, 0.01)
    assert ask(stage.connection, 1, 0.001)


def test_slots_that_were_never_granted_are_no_reason_to_wait_for_ever(stage: Stage) -> None:
    """A refusal while others are granted their first slots has a finite time in it."""
    assert ask(stage.connection, 2, 60)
    other = stage.session()
    with other.transaction(force_rollback=True):
        assert ask(other, 2, 60)
        refused = grant(stage.connection, name="api", scope="", limit=2, window=60)

    assert refused.slot is None
    assert refused.seconds == 0.01


def test_scopes_and_names_do_not_share(stage: Stage) -> None:
    """Q32: each scope key has a limit of its own."""
    values: dict[str, Any] = {"limit": 1, "window": 60.0}
    given = [
        grant(stage.connection, name=name, scope=scope, **values).slot
        for name, scope in [("a", ""), ("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")]
    ]
    assert given == [1, 1, 1, 1, None]


def test_a_higher_limit_gives_more_at_once(stage: Stage) -> None:
    """Q32: slots are added when they are asked for."""
    assert [ask(stage.connection, 2, 60) for _ in range(3)] == [True, True, False]
    assert [ask(stage.connection, 5, 60) for _ in range(4)] == [True, True, True, False]


def test_a_lower_limit_counts_in_the_first_window_that_is_all_its_own(stage: Stage) -> None:
    """G8: a window that the change falls into may hold what the old limit allowed; no later one."""
    stage.connection.execute(HISTORY)
    assert [ask(stage.connection, 4, 0.3) for _ in range(5)].count(True) == 4
    changed = granted_at(stage)[-1]

    for _ in range(6):
        wait_until(lambda: ask(stage.connection, 2, 0.3))

    times = granted_at(stage)
    assert most_in_a_window(times, 0.3) == 4
    assert most_in_a_window([at for at in times if at > changed], 0.3) == 2


def test_sessions_with_different_limits_stay_within_the_higher_one(stage: Stage) -> None:
    """Q19, G8: old and new workers together."""
    stage.connection.execute(HISTORY)

    storm(stage, lambda number: 2 + 2 * (number % 2), 0.4, 12)

    assert most_in_a_window(granted_at(stage), 0.4) == 4


class Nothing(BaseModel):
    """No input."""


def attempt_with(session: Session, *throttles: Throttle) -> StepAttempt:
    """An attempt at a step under those limits."""
    registry.clear()
    declaration = Declaration("p", input=Nothing)

    @declaration.step(throttle=throttles)
    def a() -> int:
        return 1

    @contextmanager
    def transaction() -> Any:
        with session.transaction():
            yield session

    enter: Callable[[], AbstractContextManager[Session]] = transaction
    (step,) = declaration.steps
    registry.clear()
    return StepAttempt(step, uuid7(), 1, Nothing(), enter)


def body() -> Outcome:
    return Succeeded(b"1")


def test_a_refused_limit_leaves_the_others_unused(stage: Stage) -> None:
    """G8: a grant without a start would be a start less for somebody else."""
    wide, narrow = Throttle("wide", 3, "1m"), Throttle("narrow", 1, "1m")
    both = attempt_with(stage.connection, wide, narrow)

    assert throttle(both, body) == Succeeded(b"1")
    refused = [throttle(both, body) for _ in range(5)]

    assert all(isinstance(one, Withheld) for one in refused)
    only_wide = attempt_with(stage.connection, wide)
    outcomes = [throttle(only_wide, body) for _ in range(3)]
    assert [isinstance(one, Succeeded) for one in outcomes] == [True, True, False]


def test_limits_in_opposite_order_do_not_wait_for_each_other_in_a_circle(stage: Stage) -> None:
    """Two steps name the same new limits in different order: their slots are made in one."""
    a, b, g, h = (Throttle(name, 5, "1m") for name in "abgh")
    one, other = stage.racer(), stage.racer()
    first = attempt_with(one.connection, a, g, b)
    second = attempt_with(other.connection, b, h, a)
    gate = stage.session()
    try:
        with gate.transaction(force_rollback=True):
            # Each makes the slots of its first limit, and waits in its second.
            ask(gate, 5, 60, "g")
            ask(gate, 5, 60, "h")
            outcomes = [
                one.start(lambda _: throttle(first, body)),
                other.start(lambda _: throttle(second, body)),
            ]
            assert one.blocked()
            assert other.blocked()
        assert [outcome.result(10) for outcome in outcomes] == [Succeeded(b"1")] * 2
    except psycopg.errors.DeadlockDetected:
        pytest.fail("the grants of two steps waited for each other")


def test_a_key_function_that_raises_is_a_failed_attempt(stage: Stage) -> None:
    """Q12: users' code fails by the step's policy, and never inside a transaction of ours."""
    inside: list[object] = []

    def key(_: Nothing) -> str:
        inside.append(stage.connection.info.transaction_status.name)
        raise LookupError("no tenant")

    outcome = throttle(attempt_with(stage.connection, Throttle("a", 1, "1m", key=key)), body)

    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "no tenant"
    assert inside == ["IDLE"]


def test_a_grant_uses_one_slot_whatever_the_planner_has_seen(stage: Stage) -> None:
    """Q22: asked for inside of IN, the free slot was chosen anew for each row of the table."""

    def grants() -> list[int | None]:
        session = stage.connection
        return [grant(session, name="api", scope="", limit=3, window=60.0).slot for _ in range(4)]

    assert grants() == [1, 2, 3, None]
    stage.connection.execute("DELETE FROM taskplatform.throttle_slots")
    stage.connection.execute("VACUUM ANALYZE taskplatform.throttle_slots")
    assert grants() == [1, 2, 3, None]
