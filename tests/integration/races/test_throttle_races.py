"""G8, Q22: never more than the limit in any window of its length, whoever asks."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
from taskplatform.storage import limits
from taskplatform.storage.connection import Session
from taskplatform.storage.throttles import (
    SLICES,
    VALID_SHARE,
    Grant,
    Refusal,
    Wanted,
    ask,
    give_back,
)
from tests.integration.races.stage import Stage, wait_until

# A grant counts until its validity and the slice of the window in which it was given are over.
LONGER = 1 + VALID_SHARE + 2 / SLICES


def most_in_a_window(grants: list[tuple[float, int]], window: float) -> int:
    """The most that any window of that length holds, wherever it begins."""
    return max(
        sum(weight for at, weight in grants if start <= at < start + window) for start, _ in grants
    )


def wanted(limit: int, window: float, name: str = "api", scope: str = "", **more: Any) -> Wanted:
    return Wanted(name, scope, limit, window, **more)


def given(session: Session, *args: Any, **more: Any) -> bool:
    return isinstance(ask(session, [wanted(*args, **more)]), Grant)


def clock(session: Session) -> float:
    row = session.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
    assert row is not None
    return float(row[0])


HISTORY = """
CREATE TABLE decided (xact xid8, at timestamptz);
CREATE TABLE weighed (xact xid8, weight bigint);
CREATE FUNCTION decide() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO decided
    VALUES (pg_current_xact_id(), NEW.swept + make_interval(secs => NEW.span));
    RETURN NEW;
END $$;
CREATE FUNCTION weigh() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO weighed VALUES (pg_current_xact_id(), NEW.weight - coalesce(OLD.weight, 0));
    RETURN NEW;
END $$;
CREATE TRIGGER decide AFTER UPDATE ON taskplatform.throttle_buckets
FOR EACH ROW EXECUTE FUNCTION decide();
CREATE TRIGGER weigh AFTER INSERT OR UPDATE ON taskplatform.throttle_slices
FOR EACH ROW EXECUTE FUNCTION weigh();
"""


def storm(
    stage: Stage, want: Callable[[int], Wanted], enough: int, sessions: int = 12
) -> list[tuple[float, int]]:
    """Sessions ask without a pause until so much is granted; when each was decided, its weight."""
    stage.connection.execute(HISTORY)
    start = threading.Barrier(sessions)
    opened = [stage.session() for _ in range(sessions)]
    over = threading.Event()
    granted: list[int] = []

    def insist(number: int) -> None:
        start.wait()
        one = want(number)
        while not over.is_set():
            if isinstance(ask(opened[number], [one]), Grant):
                granted.append(one.weight)
            if sum(granted) >= enough:
                over.set()

    with ThreadPoolExecutor(sessions) as pool:
        list(pool.map(insist, range(sessions)))
    noted = stage.rows(
        "SELECT extract(epoch FROM at), weight FROM decided JOIN weighed USING (xact) ORDER BY at"
    )
    assert sorted(weight for _, weight in noted) == sorted(granted)
    return [(float(at), int(weight)) for at, weight in noted]


@pytest.mark.timeout(60)
def test_many_sessions_never_exceed_the_limit_in_any_window(stage: Stage) -> None:
    """G8, F38, Q22: from nothing, when the limit is not known yet; and all of it is granted."""
    grants = storm(stage, lambda _: wanted(5, 0.5), 21)

    assert most_in_a_window(grants, 0.5 * (1 + VALID_SHARE)) == 5
    assert grants[20][0] - grants[0][0] < 4 * 0.5 * LONGER + 0.4


@pytest.mark.timeout(60)
def test_weights_of_many_sessions_stay_within_the_limit(stage: Stage) -> None:
    """G8, Q8: what counts is the weight."""
    grants = storm(stage, lambda number: wanted(10, 0.4, weight=1 + number % 4), 60)

    assert most_in_a_window(grants, 0.4 * (1 + VALID_SHARE)) == 10
    assert {weight for _, weight in grants} >= {1, 2}


def test_a_window_slides(stage: Stage) -> None:
    """G8: the grants of the end of one calendar window count against the next."""
    first = clock(stage.connection)
    assert given(stage.connection, 2, 0.4)
    wait_until(lambda: clock(stage.connection) > first + 0.3)
    assert given(stage.connection, 2, 0.4)
    second = clock(stage.connection)
    assert not given(stage.connection, 2, 0.4)

    wait_until(lambda: given(stage.connection, 2, 0.4))
    third = clock(stage.connection)
    assert 0.4 <= third - first < 0.55
    if third - second < 0.3:
        assert not given(stage.connection, 2, 0.4)


def test_a_refusal_says_when_to_come_back(stage: Stage) -> None:
    """G6: neither early nor late; a grant at that time is given."""
    assert given(stage.connection, 3, 0.3)
    assert given(stage.connection, 3, 0.3, weight=2)

    light = ask(stage.connection, [wanted(3, 0.3)])
    heavy = ask(stage.connection, [wanted(3, 0.3, weight=3)])

    asked = clock(stage.connection)
    assert isinstance(light, Refusal)
    assert isinstance(heavy, Refusal)
    assert 0.2 < light.seconds <= heavy.seconds <= 0.3 * LONGER
    wait_until(lambda: clock(stage.connection) >= asked + heavy.seconds)
    assert given(stage.connection, 3, 0.3, weight=3)


def test_a_grant_that_was_not_used_is_given_back(stage: Stage) -> None:
    """G8: it is void, and room for somebody else at once."""
    first = ask(stage.connection, [wanted(3, 60, weight=2), wanted(1, 60, "b")])
    assert isinstance(first, Grant)
    assert not given(stage.connection, 3, 60, weight=2)
    give_back(stage.connection, [wanted(3, 60, weight=2), wanted(1, 60, "b")], first)
    assert given(stage.connection, 1, 60, "b")
    assert [given(stage.connection, 3, 60) for _ in range(4)] == [True] * 3 + [False]


def test_pause_at_leaves_a_share_of_the_limit_to_others(stage: Stage) -> None:
    """Q9: the same budget, of which some use no more than a part; one start is always a part."""
    asked = [given(stage.connection, 10, 60, share=0.5) for _ in range(6)]
    assert asked == [True] * 5 + [False]
    assert [given(stage.connection, 10, 60) for _ in range(6)] == [True] * 5 + [False]
    assert given(stage.connection, 2, 60, "small", share=0.1)


def test_what_is_heavier_than_the_limit_is_never_granted(stage: Stage) -> None:
    """Q12: and it is told apart from what has to wait."""
    limits.put(stage.connection, "throttle", "api", 4, None)
    refused = ask(stage.connection, [wanted(10, 60, weight=5)])
    assert isinstance(refused, Refusal)
    assert refused.seconds == float("inf")


def test_scopes_and_names_do_not_share(stage: Stage) -> None:
    """Q32: each scope key has a limit of its own."""
    names = [("a", ""), ("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")]
    asked = [given(stage.connection, 1, 60, name, scope) for name, scope in names]
    assert asked == [True, True, True, True, False]


def test_a_limit_is_changed_at_run_time_and_remembered(stage: Stage) -> None:
    """Q8, Q32: what was set by hand wins over what is declared, until it is taken back."""
    asks = stage.connection
    assert [given(asks, 2, 60) for _ in range(3)] == [True, True, False]
    limits.put(asks, "throttle", "api", 5, None)
    assert [given(asks, 2, 60) for _ in range(4)] == [True, True, True, False]
    limits.put(asks, "throttle", "api", 3, None)
    assert not given(asks, 2, 60)
    # A window of another length is counted anew.
    limits.put(asks, "throttle", "api", 1, 0.001)
    wait_until(lambda: given(asks, 2, 60))
    limits.put(asks, "throttle", "api", 0, None)
    assert not given(asks, 2, 60)
    assert limits.reset(asks, "throttle", "api")
    assert not limits.reset(asks, "throttle", "api")
    assert not given(asks, 2, 60)
    assert given(asks, 7, 60)


def test_sessions_with_different_limits_stay_within_the_higher_one(stage: Stage) -> None:
    """Q19, G8: old and new workers together."""
    grants = storm(stage, lambda number: wanted(2 + 2 * (number % 2), 0.4), 12)
    assert most_in_a_window(grants, 0.4 * (1 + VALID_SHARE)) == 4


class Nothing(BaseModel):
    """No input."""

    tokens: int = 3


def attempt_with(
    session: Session, *throttles: Throttle, input: Nothing | None = None
) -> StepAttempt:
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

    @contextmanager
    def alone() -> Any:
        yield session

    (step,) = declaration.steps
    registry.clear()
    return StepAttempt(step, uuid7(), 1, input or Nothing(), transaction, alone, -1, 1)


def body() -> Outcome:
    return Succeeded(b"1")


def test_a_refused_limit_leaves_the_others_unused(stage: Stage) -> None:
    """G8: a grant without a start would be a start less for somebody else."""
    wide, narrow = Throttle("wide", 3, "1m"), Throttle("narrow", 1, "1m")
    both = attempt_with(stage.connection, wide, narrow)

    assert throttle(both, body) == Succeeded(b"1")
    refused = [throttle(both, body) for _ in range(5)]

    assert {one.gate for one in refused if isinstance(one, Withheld)} == {"throttle:narrow:"}
    only_wide = attempt_with(stage.connection, wide)
    outcomes = [throttle(only_wide, body) for _ in range(3)]
    assert [isinstance(one, Succeeded) for one in outcomes] == [True, True, False]


def test_a_weight_comes_from_the_input(stage: Stage) -> None:
    """Q8: a field or a function; none at all needs no grant, too much for ever is an error."""
    tokens = Throttle("tokens", 10, "1m", weight="tokens")
    free = attempt_with(stage.connection, tokens, input=Nothing(tokens=0))
    heavy = attempt_with(stage.connection, tokens, input=Nothing(tokens=11))
    usual = attempt_with(stage.connection, Throttle("t", 10, 60, weight=lambda it: it.tokens * 2))
    wrong = attempt_with(stage.connection, Throttle("t", 10, 60, weight=lambda _: 0.5))

    assert throttle(heavy, body) == Failed(
        throttle(heavy, body).failure,  # type: ignore[union-attr]
        permanent=True,
    )
    assert [throttle(free, body) for _ in range(3)] == [Succeeded(b"1")] * 3
    assert throttle(usual, body) == Succeeded(b"1")
    assert isinstance(throttle(usual, body), Withheld)
    assert isinstance(throttle(wrong, body), Failed)


def test_limits_in_opposite_order_do_not_wait_for_each_other_in_a_circle(stage: Stage) -> None:
    """Two steps name the same new limits in different order: they are made and locked in one."""
    a, b, g, h = (Throttle(name, 5, "1m") for name in "abgh")
    one, other = stage.racer(), stage.racer()
    first = attempt_with(one.connection, a, g, b)
    second = attempt_with(other.connection, b, h, a)
    gate = stage.session()
    try:
        with gate.transaction(force_rollback=True):
            # Each makes the buckets of its first limits, and waits in one that nobody can see yet.
            given(gate, 5, 60, "g")
            given(gate, 5, 60, "h")
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
