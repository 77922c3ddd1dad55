"""Debounce against a model of it, by random walks over the real tables and a movable clock."""

from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from taskplatform.core.debounce import Debounce
from taskplatform.core.ids import uuid7
from taskplatform.storage import clock
from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.inside import enqueue_inside, identity
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.pauses import let_go, pause, resume, set_aside
from taskplatform.storage.script import perform
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import End, Settlement
from tests.integration.models.bursts import LONGEST, PERIOD, Bursts
from tests.integration.races.stage import Stage, give_back, result

KEYS = st.sampled_from("ab")
PLACES = st.integers(0, 5)
DEBOUNCE = Debounce(PERIOD, max_wait=LONGEST)


class Debouncing(RuleBasedStateMachine):
    """One pipeline, and all that can happen to its runs."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        for table in ("runs", "work", "keys", "step_results", "pauses"):
            self.stage.connection.execute(f"DELETE FROM taskplatform.{table}")
        self.model = Bursts()
        self.held: dict[UUID, Claimed] = {}
        self.inputs = 0
        self.paused = False

    def row(self, key: str, *, forced: bool = False) -> NewRun:
        self.inputs += 1
        return NewRun(
            id=uuid7(),
            pipeline="p",
            first_step="a",
            queue="q",
            input=b'{"n":%d}' % self.inputs,
            key=key,
            forced=forced,
            debounce=None if forced else DEBOUNCE,
            delay=None if forced else PERIOD,
        )

    @rule(keys=st.lists(KEYS, min_size=1, max_size=3), inside=st.booleans(), lost=st.booleans())
    def enqueue(self, keys: list[str], inside: bool, lost: bool) -> None:
        """`lost`: the answer to the first call was, so it is repeated."""
        session = self.stage.connection
        rows = [self.row(key) for key in keys]
        inputs = range(self.inputs - len(rows) + 1, self.inputs + 1)
        if inside:
            with session.transaction():
                script = enqueue_inside([rows], identity(session))
                found = [one.id for one in perform(session, script)]
        else:
            found = [one.id for one in enqueue(session, rows)]
            if lost:
                assert found == [one.id for one in enqueue(session, rows, again=True)]
        # The rows of one call that have one key are one.
        first: dict[str, UUID] = {}
        for row, key, input in zip(rows, keys, inputs, strict=True):
            first.setdefault(key, self.model.enqueue(row.id, key, input))
            self.model.runs[first[key]].input = input
        assert found == [first[key] for key in keys]

    @rule(key=KEYS)
    def force(self, key: str) -> None:
        row = self.row(key, forced=True)
        (found,) = enqueue(self.stage.connection, [row])
        assert found.id == self.model.force(row.id, self.inputs)

    @rule(minutes=st.sampled_from([10, 30, 59, 60, 61, 150]))
    def advance(self, minutes: int) -> None:
        clock.advance(self.stage.connection, minutes * 60)
        self.model.now += minutes * 60

    @rule()
    def dispatch(self) -> None:
        release_due(self.stage.connection)
        self.model.dispatch()

    @rule(place=PLACES, begins=st.booleans())
    def claim(self, place: int, begins: bool) -> None:
        """In order of rank; what is claimed may be given back before its body begins."""
        if self.paused:
            return
        taken = self.stage.take(1 + place)
        assert {one.run_id for one in taken} <= set(self.model.claimable())
        for one in taken:
            assert one.input == b'{"n":%d}' % self.model.runs[one.run_id].input
            if begins:
                self.held[one.run_id] = one
                self.model.runs[one.run_id].state = "begun"
            else:
                settle(self.stage.connection, [give_back(one)], worker="w")

    @rule(place=PLACES)
    def finish(self, place: int) -> None:
        if self.held:
            one = self.held.pop(sorted(self.held)[place % len(self.held)])
            ended = Settlement(
                one.work_id, one.epoch, one.run_id, End("succeeded", "a"), result=result("a")
            )
            assert settle(self.stage.connection, [ended], worker="w")
            self.model.runs[one.run_id].state = "ended"

    @rule(place=PLACES)
    def cancel(self, place: int) -> None:
        """The next enqueue of its key begins another burst."""
        open_ = [id for id, run in self.model.runs.items() if run.state in ("waiting", "begun")]
        if open_:
            id = sorted(open_)[place % len(open_)]
            assert cancel(self.stage.connection, id)
            self.held.pop(id, None)
            self.model.runs[id].state = "cancelled"

    @rule()
    def pause_or_resume(self) -> None:
        """What waits for a pause goes on taking newer inputs."""
        session = self.stage.connection
        if self.paused:
            resume(session, "p")
            let_go(session, ["p"])
        else:
            pause(session, "p", None)
            set_aside(session, ["p"])
        self.paused = not self.paused

    @invariant()
    def agrees(self) -> None:
        """Every run has its burst's last input, and is due when the model says."""
        stored = self.stage.rows(
            "SELECT r.id, r.input, extract(epoch FROM w.due_at - clock_timestamp())::float8,"
            " w.reason FROM taskplatform.runs r LEFT JOIN taskplatform.work w ON w.run_id = r.id"
        )
        assert {id for id, *_ in stored} == set(self.model.runs)
        for id, input, left, reason in stored:
            run = self.model.runs[id]
            assert input == b'{"n":%d}' % run.input
            if not run.begun and not run.dispatched:
                assert reason is None
                assert abs(left - (run.due - self.model.now)) < 60


def test_debounce_is_the_models(stage: Stage) -> None:
    """C4, Q14: trailing, bounded, one run of a burst, on its last input; whoever claims when."""
    run_state_machine_as_test(
        type("OneDebouncing", (Debouncing,), {"stage": stage}),
        settings=settings(
            deadline=None,
            derandomize=True,
            database=None,
            max_examples=25,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
