"""The window of a throttle, beside a model that remembers every grant and adds them up."""

import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from taskplatform.storage import clock, limits, throttles
from taskplatform.storage.throttles import SLICES, VALID_SHARE, Grant, Wanted
from tests.integration.races.stage import Stage

LIMIT, WINDOW = 10, 1000.0
# A grant counts for as long as this at least, and no longer than that.
LEAST, MOST = WINDOW * (1 + VALID_SHARE), WINDOW * (1 + VALID_SHARE) * (1 + 1 / SLICES)
# So long a test's own statements may take, which is time that passes, too.
PLAY = 5.0
MOMENT = 20.0


class Window(RuleBasedStateMachine):
    """One limit; time passes in leaps, and in the moments that asking takes."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        for table in ("throttle_buckets", "throttle_slices", "limits", "reservations"):
            self.stage.connection.execute(f"DELETE FROM taskplatform.{table}")
        self.leapt = 0.0
        self.most = LIMIT
        self.highest: list[tuple[float, int]] = [(0.0, LIMIT)]
        self.grants: list[tuple[float, int]] = []
        self.last: tuple[Wanted, Grant] | None = None

    def now(self) -> float:
        return self.leapt + time.monotonic()

    def weighs(self, window: float) -> int:
        """What was granted within so long, added up."""
        now = self.now()
        return sum(weight for at, weight in self.grants if now - at < window)

    @rule(weight=st.integers(1, 6), share=st.sampled_from([1.0, 1.0, 0.5, 0.05]))
    def ask(self, weight: int, share: float) -> None:
        wanted = Wanted("api", "", LIMIT, WINDOW, weight, share)
        answer = throttles.ask(self.stage.connection, [wanted])
        allowed = min(self.most, max(1, int(self.most * share)))
        if isinstance(answer, Grant):
            assert self.weighs(LEAST - PLAY) + weight <= allowed
            self.grants.append((self.now(), weight))
            self.last = wanted, answer
            return
        assert self.weighs(MOST + PLAY) + weight > allowed
        if weight > allowed:
            assert answer.seconds == float("inf")
            return
        # It says when: a moment before that there is no room yet, a moment after there is.
        wait = answer.seconds
        if wait > MOMENT:
            self.leap(wait - MOMENT)
            assert not isinstance(throttles.ask(self.stage.connection, [wanted]), Grant)
            wait = MOMENT
        self.leap(wait)
        assert isinstance(throttles.ask(self.stage.connection, [wanted]), Grant)
        self.grants.append((self.now(), weight))

    @rule(seconds=st.sampled_from([1.0, 90.0, 250.0, 500.0, 1100.0]))
    def leap(self, seconds: float) -> None:
        clock.advance(self.stage.connection, seconds)
        self.leapt += seconds
        self.last = None

    @rule()
    def give_back(self) -> None:
        """Of a grant that nobody used nothing is left; slices have not moved meanwhile."""
        if self.last is not None:
            wanted, grant = self.last
            throttles.give_back(self.stage.connection, [wanted], grant)
            self.grants.pop()
            self.last = None

    @rule(most=st.sampled_from([2, 5, LIMIT, 15, None]))
    def set_limit(self, most: int | None) -> None:
        if most is None:
            limits.reset(self.stage.connection, "throttle", "api")
        else:
            limits.put(self.stage.connection, "throttle", "api", most, None)
        self.most = LIMIT if most is None else most
        self.highest.append((self.now(), self.most))

    @invariant()
    def no_window_holds_more(self) -> None:
        """Wherever it begins; of a limit that was changed the highest in it counts."""
        for start, _ in self.grants:
            inside = [weight for at, weight in self.grants if start <= at < start + WINDOW]
            later = [most for at, most in self.highest if start < at]
            before = [most for at, most in self.highest if at <= start]
            # What a higher limit allowed just before still counts, and is allowed.
            assert sum(inside) <= max([*later, *before[-2:]])


@pytest.mark.timeout(120)
def test_a_window_is_that_of_the_model(stage: Stage) -> None:
    """G8, Q22: grants, refusals, the moment of the next room, what is given back, new limits."""
    Window.stage = stage
    run_state_machine_as_test(
        Window,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
