"""All that can happen to runs of every shape, as the rules of a machine."""

import json
from itertools import pairwise
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.core.run import FINAL, TRANSITIONS, Status
from taskplatform.core.segments import next_step
from taskplatform.errors import Conflict
from taskplatform.executor.slots import SlotTable
from taskplatform.storage import clock, events
from taskplatform.storage.cancel import cancel
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.settlement import Settlement
from taskplatform.supervisor.rescue import Loss, Rescuer
from tests.integration.races.hand import QUEUE, Hand, commit
from tests.integration.races.shape_facts import wrong
from tests.integration.races.shaped import HOUR, Asked
from tests.integration.races.stage import Stage

TABLES = "runs, work, step_results, step_attempts, items, waits, events, keys, holders"
RESCUER = Rescuer("rescuer", QUEUE, 60.0)
NAMES = ["flat", "strict", "nested", "resting", "parent"]
HANDS = st.integers(0, 2)
PLACES = st.integers(0, 7)
FATES = st.lists(
    st.sampled_from(["ok", "ok", "ok", "ok", "fail", "permanent"]), min_size=1, max_size=4
)


class Life(RuleBasedStateMachine):
    """One database, one sequence of what workers, supervisors and people do."""

    stage: Stage
    table: SlotTable

    def __init__(self) -> None:
        super().__init__()
        for name in TABLES.split(", "):
            self.stage.connection.execute(f"DELETE FROM taskplatform.{name}")
        self.hands = [Hand(self.stage, self.table) for _ in range(3)]
        self.dead: list[int] = []
        self.late: list[list[Settlement]] = []
        self.sent: list[tuple[UUID, str, str]] = []
        self.states: dict[UUID, str] = {}

    @initialize(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=2))
    def choose(self, names: list[str]) -> None:
        """Few, so that what happens happens to the same ones."""
        self.names = names
        self.enqueue(0, 2, "x")

    @rule(which=st.integers(0, 1), many=st.integers(0, 4), id=st.sampled_from("xy"))
    def enqueue(self, which: int, many: int, id: str) -> None:
        name = self.names[which % len(self.names)]
        open = [run for run, status in self.states.items() if Status(status) not in FINAL]
        if len(open) > 4:
            return
        input = Asked(id=id, items=list(range(many))).model_dump_json().encode()
        first = registry.get(name).steps[0].name
        self.stage.runs(pipeline=name, first_step=first, queue=QUEUE, input=input)

    @rule(hand=HANDS, limit=st.integers(1, 6), known=st.booleans())
    def claim(self, hand: int, limit: int, known: bool) -> None:
        one = self.hands[hand]
        if not one.claimed and not one.offered:
            for claimed in one.take(limit, known):
                assert not claimed.branch or not claimed.failing

    @rule(hand=HANDS, how=FATES, yields=st.booleans(), stops=st.sampled_from([False] * 5 + [True]))
    def execute(self, hand: int, how: list[str], yields: bool, stops: bool) -> None:
        one = self.hands[hand]
        if one.claimed and not one.offered:
            one.execute(how, yields=yields, stops=stops)
            self.nothing_is_done_twice(one)

    @rule(hand=HANDS, twice=st.booleans())
    def commit(self, hand: int, twice: bool) -> None:
        one = self.hands[hand]
        held = self.held(one.offered)
        assert one.commit(twice=twice) == held

    @rule(hand=HANDS, limit=st.integers(1, 6), how=FATES)
    def shift(self, hand: int, limit: int, how: list[str]) -> None:
        """All three at once, which is how runs get anywhere."""
        one = self.hands[hand]
        if not one.claimed and not one.offered:
            self.claim(hand, limit, True)
        self.execute(hand, how, False, False)
        self.commit(hand, False)

    @rule(hand=HANDS)
    def kill(self, hand: int) -> None:
        """Its lease goes on, and it may only have been stopped: what it offers comes late."""
        one = self.hands[hand]
        self.dead.append(one.holder)
        if one.offered:
            self.late.append(one.offered)
        one.start_anew()

    @rule()
    def rescue(self) -> None:
        for holder in self.dead:
            loss = Loss(holder, "crashed", None, certain=False)
            RESCUER.rescue(self.stage.connection, loss)
        self.dead.clear()

    @rule(place=PLACES)
    def go_on_late(self, place: int) -> None:
        if self.late:
            offered = self.late.pop(place % len(self.late))
            held = self.held(offered)
            assert commit(self.stage, offered) == held

    @rule(
        name=st.sampled_from(["approved", "noted"]),
        id=st.sampled_from("xy"),
        ok=st.sampled_from([True, True, "what"]),
    )
    def send(self, name: str, id: str, ok: object) -> None:
        data = json.dumps({"id": id, "ok": ok})
        self.sent.append((uuid7(), name, data))
        self.send_again(-1)

    @rule(place=PLACES)
    def send_again(self, place: int) -> None:
        if self.sent:
            id, name, data = self.sent[place % len(self.sent)]
            events.send(
                self.stage.connection, id=id, name=name, data=data.encode(), values=["x", "y"]
            )

    @rule(hours=st.sampled_from([1, 1, 4]))
    def let_time_pass(self, hours: int) -> None:
        clock.advance(self.stage.connection, hours * HOUR)

    @rule()
    def dispatch(self) -> None:
        release_due(self.stage.connection)

    @rule(place=PLACES)
    def cancel(self, place: int) -> None:
        if self.states:
            cancel(self.stage.connection, self.pick(place))

    @rule(place=PLACES)
    def retry(self, place: int) -> None:
        """A child alone is not tried again: nobody would wait for it."""
        if not self.states:
            return
        run = self.pick(place)
        alone = self.stage.value(
            "SELECT p.finished_at IS NOT NULL OR coalesce(w.failing, false)"
            " FROM taskplatform.runs c JOIN taskplatform.runs p ON p.id = c.parent_run"
            " LEFT JOIN taskplatform.work w ON w.run_id = p.id AND w.branch = '' WHERE c.id = %s",
            run,
        )
        if not alone:
            self.retry_now(run)

    def retry_now(self, run: UUID) -> None:
        def plan(pipeline: str, done: object) -> Next:
            step = next_step(registry.get(pipeline), done)  # type: ignore[arg-type]
            assert step is not None
            return Next(step.name, QUEUE, registry.get(pipeline).run_timeout)

        try:
            retry(self.stage.connection, run, plan)
        except Conflict:
            assert self.states[run] != "failed" or self.undone(run)

    def pick(self, place: int) -> UUID:
        runs = sorted(run for run, status in self.states.items() if status != "succeeded")
        runs = runs or sorted(self.states)
        return runs[place % len(runs)]

    def undone(self, run: UUID) -> list[str]:
        """The steps of a run that were undone, in that order."""
        rows = self.stage.rows(
            "SELECT step_name FROM taskplatform.step_results WHERE run_id = %s"
            " AND step_name LIKE '%%:compensate' ORDER BY finished_at, epoch",
            run,
        )
        return [name.removesuffix(":compensate") for (name,) in rows]

    def held(self, offered: list[Settlement]) -> set[int]:
        """Which of these are held under the epoch that the offer knows."""
        rows = self.stage.rows(
            "SELECT w.id FROM unnest(%s::bigint[], %s::bigint[]) AS d(id, epoch)"
            " JOIN taskplatform.work w USING (id, epoch) WHERE w.holder IS NOT NULL",
            [one.work_id for one in offered],
            [one.epoch for one in offered],
        )
        return {row[0] for row in rows}

    def nothing_is_done_twice(self, hand: Hand) -> None:
        held = self.held(hand.offered)
        for one in hand.offered:
            if one.result is not None and one.work_id in held:
                made = one.result
                found = self.stage.value(
                    "SELECT 1 FROM taskplatform.step_results WHERE run_id = %s AND step_name = %s"
                    " UNION ALL SELECT 1 FROM taskplatform.items WHERE run_id = %s"
                    " AND step_name = %s AND position = %s AND finished_at IS NOT NULL",
                    *(one.run_id, made.step, one.run_id, made.step, made.position),
                )
                assert not found, made

    @invariant()
    def the_tables_hold_what_they_promise(self) -> None:
        found = wrong(self.stage)
        assert not found, found

    @invariant()
    def states_follow_each_other_as_they_may(self) -> None:
        now = dict(self.stage.rows("SELECT id, status FROM taskplatform.runs"))
        for run, status in now.items():
            before = self.states.get(run)
            if before not in (None, status):
                assert Status(status) in TRANSITIONS[Status(before)], (before, status)
        self.states = now

    def teardown(self) -> None:
        for number in range(3):
            self.kill(number)
        self.rescue()
        for _ in range(3):
            self.drain()
            left = self.stage.rows(
                "SELECT id, reason FROM taskplatform.runs WHERE finished_at IS NULL"
            )
            assert all(reason in ("parked", "children") for _, reason in left)
            assert not left or any(reason == "parked" for _, reason in left)
            for run, reason in left:
                if reason == "parked":
                    self.retry_now(run)
        self.drain()
        assert not self.stage.rows("SELECT id FROM taskplatform.runs WHERE finished_at IS NULL")
        for run, status in self.states.items():
            self.was_undone(run, status)
        for hand in self.hands:
            hand.slot.reset(0)

    def drain(self) -> None:
        """Everything that can happen by itself does, for a day; somebody sends all events."""
        for _ in range(24):
            self.send("approved", "x", True)
            self.send("approved", "y", True)
            self.send("noted", "x", True)
            self.states_follow_each_other_as_they_may()
            while self.hands[0].take(50, True):
                while self.hands[0].claimed:
                    self.hands[0].execute(["ok"])
                    self.hands[0].commit()
                    self.states_follow_each_other_as_they_may()
                self.the_tables_hold_what_they_promise()
            if not self.stage.value("SELECT 1 FROM taskplatform.work WHERE due_at < 'infinity'"):
                break
            clock.advance(self.stage.connection, HOUR)
            release_due(self.stage.connection)
            self.states_follow_each_other_as_they_may()

    def was_undone(self, run: UUID, status: str) -> None:
        """In reverse order, all or nothing."""
        name = self.stage.value("SELECT pipeline FROM taskplatform.runs WHERE id = %s", run)
        done = self.stage.results(run)
        undone = self.undone(run)
        order = [step.name for step in registry.get(name).steps]
        places = [order.index(step) for step in undone]
        assert all(later < earlier for earlier, later in pairwise(places))
        if status == "failed":
            declared = [step for step in registry.get(name).steps if step.compensation]
            assert sorted(undone) == sorted(step.name for step in declared if step.name in done)
        if status == "succeeded":
            assert not undone
