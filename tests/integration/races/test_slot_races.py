"""Concurrency limits: never more than the limit, whoever dies, and nothing waits beside room."""

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from math import inf
from uuid import UUID, uuid4

import pytest

from taskplatform.core.disposition import InLine
from taskplatform.core.ids import uuid7
from taskplatform.storage import leases, slots
from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.gates import gate_of
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import PutBack, Settlement, Slots
from taskplatform.storage.slots import Asking, Full
from tests.integration.races.stage import Stage, keep, pass_on, succeed

GATE = gate_of("concurrency", "api", "a")


@pytest.fixture(autouse=True)
def worker(stage: Stage) -> None:
    """Somebody serves what stands in line."""
    stage.serve("q", "p")


def take(session: Session, one: Claimed, most: int = 2, *gates: str) -> Full | None:
    with session.transaction():
        return slots.take(
            session,
            Asking(one.work_id, one.run_id, one.epoch),
            dict.fromkeys(gates or (GATE,), most),
        )


def give_back(session: Session, made: Settlement, most: int = 2) -> set[int]:
    made.slots = Slots(((GATE, most),))
    return settle(session, [made], worker="w")


def in_line(one: Claimed, gate: str = GATE) -> Settlement:
    then = PutBack(one.step, one.queue, inf, "concurrency", "a place", line=InLine(gate))
    return Settlement(one.work_id, one.epoch, one.run_id, then)


def held(stage: Stage, gate: str = GATE) -> int:
    return int(stage.value("SELECT count(*) FROM taskplatform.slots WHERE gate = %s", gate))


def test_a_settled_attempt_frees_its_slot_and_lets_the_next_in_line_go(stage: Stage) -> None:
    """W13: in the transaction of the result; nobody looks for it afterwards."""
    stage.runs(4)
    one, two, three, four = stage.take()
    session = stage.connection
    assert [take(session, each) for each in (one, two)] == [None, None]
    assert take(session, one) is None, "it is asked for again when the answer was lost"
    assert take(session, three) == Full(GATE, 2, 2)
    give_back(session, in_line(three))
    give_back(session, in_line(four))
    assert stage.take() == []
    assert not stage.wrong()

    assert give_back(session, keep(one, "b")) == {one.work_id}
    (again,) = stage.take()
    assert again.run_id == three.run_id
    stage.runs(1)
    (new,) = stage.take()
    assert take(session, new) == Full(GATE, 2, 2), "what is free is kept for who was let go"
    assert take(session, again) is None
    assert held(stage) == 2


def test_what_was_refused_or_rescued_frees_its_slot_too(stage: Stage) -> None:
    """G3, G10: a cancelled body may go on, and has its slot until it has ended."""
    (run, _, _) = stage.runs(3)
    one, two, three = stage.take()
    session = stage.connection
    assert take(session, one, 1) is None
    assert cancel(session, run)
    assert take(session, two, 1) == Full(GATE, 1, 1)
    assert give_back(session, succeed(one), 1) == set()
    assert take(session, two, 1) is None
    give_back(session, in_line(three), 1)

    holder = stage.value("SELECT holder FROM taskplatform.slots")
    assert slots.bury(session, holder) == {"q": 1}
    leases.forget(session, holder)
    assert held(stage) == 0


def test_a_slot_without_a_lease_is_no_slot_and_a_lost_claim_gets_none(stage: Stage) -> None:
    """F38: the lease decides, by no worker's clock."""
    stage.runs(3)
    (one,) = stage.take(1)
    (two,) = stage.take(1)
    (three,) = stage.take(1)
    session = stage.connection
    assert take(session, one, 1) is None
    stage.connection.execute(
        "DELETE FROM taskplatform.holders WHERE id = (SELECT holder FROM taskplatform.slots)"
    )
    assert take(session, one, 2, "concurrency:other:") is not None
    assert take(session, two, 1) is None
    settle(session, [keep(three, "b")], worker="w")
    stage.connection.execute("UPDATE taskplatform.work SET epoch = epoch + 1000")
    assert take(session, three, 9) is not None


def test_all_limits_grant_or_none_is_taken(stage: Stage) -> None:
    """Q8: several on one step."""
    stage.runs(3)
    one, two, three = stage.take()
    session = stage.connection
    assert take(session, one, 1, "concurrency:x:", "concurrency:y:") is None
    assert take(session, two, 1, "concurrency:z:", "concurrency:y:") == Full("concurrency:y:", 1, 1)
    assert take(session, three, 1, "concurrency:z:") is None


def test_a_run_has_its_slot_until_it_ends_and_its_bodies_need_no_other(stage: Stage) -> None:
    """A cancelled run's slot goes over to the body that executes still."""
    first, second, _ = stage.runs(3)
    one, two, three = stage.take()
    session = stage.connection

    def ask(*claimed: Claimed) -> Sequence[Full | None]:
        return slots.take_for_runs(
            session, [(Asking(each.work_id, each.run_id), {GATE: 1}) for each in claimed]
        )

    assert ask(one, two, one) == [None, Full(GATE, 1, 1), None]
    assert take(session, one, 1) is None
    assert held(stage) == 1
    give_back(session, in_line(two), 1)
    assert cancel(session, first)
    assert stage.take() == []
    assert slots.give_up(session, [one.epoch]) == {"q": 1}
    (two,) = stage.take()
    assert (two.run_id, ask(three, two)) == (second, [Full(GATE, 1, 1), None])
    give_back(session, in_line(three), 1)
    assert give_back(session, succeed(two), 1)
    (three,) = stage.take()
    assert ask(three) == [None]
    stage.connection.execute("UPDATE taskplatform.runs SET finished_at = now(), status = 'failed'")
    assert ask(one) == [None], "what ended by other hands holds nothing"


def test_who_takes_the_place_of_a_run_lets_the_line_go_on(stage: Stage) -> None:
    """W13, C4: in the transaction of the enqueue, not when a supervisor looks."""

    def arrive() -> UUID:
        row = NewRun(
            id=uuid7(),
            pipeline="p",
            first_step="a",
            queue="q",
            input=b"{}",
            key="k",
            singleton="cancel-oldest",
        )
        enqueue(stage.connection, [row])
        return row.id

    first, session = arrive(), stage.connection
    (waits,) = stage.runs(1)
    one, two = stage.take()
    asked = [(Asking(each.work_id, each.run_id), {GATE: 1}) for each in (one, two)]
    assert slots.take_for_runs(session, asked) == [None, Full(GATE, 1, 1)]
    give_back(session, in_line(two), 1)
    asleep = PutBack(one.step, one.queue, 3600, "retry")
    give_back(session, Settlement(one.work_id, one.epoch, one.run_id, asleep), 1)

    second = arrive()

    assert stage.status(first) == "cancelled"
    release_due(session)
    assert [each.run_id for each in stage.take()] == [waits, second]
    assert held(stage) == 0


def test_a_limit_set_by_hand_wins(stage: Stage) -> None:
    """W15: also a lower one than what is taken."""
    stage.runs(4)
    claimed = stage.take()
    session = stage.connection
    assert [take(session, one) for one in claimed[:2]] == [None, None]
    stage.connection.execute(
        "INSERT INTO taskplatform.limits (kind, name, most) VALUES ('concurrency', 'api', 1)"
    )
    give_back(session, keep(claimed[0], "b"))
    assert take(session, claimed[2]) == Full(GATE, 1, 1)
    stage.connection.execute("UPDATE taskplatform.limits SET most = 3")
    assert [take(session, one) for one in claimed[2:]] == [None, None]


def test_who_joins_a_line_while_the_last_slot_is_freed_is_let_go(stage: Stage) -> None:
    """G5: whoever is second sees what the first has done, in whichever order they commit."""
    stage.runs(2)
    one, two = stage.take()
    session = stage.connection
    assert take(session, one, 1) is None
    assert take(session, two, 1) is not None
    joins, frees = stage.racer(), stage.racer()
    with closing(stage.session()) as gate, gate.transaction():
        gate.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (GATE,))
        first = joins.start(give_back, in_line(two), 1)
        assert joins.blocked()
        second = frees.start(give_back, keep(one, "b"), 1)
        assert frees.blocked()
    assert first.result(10)
    assert second.result(10)
    assert [each.run_id for each in stage.take()] == [two.run_id]


@dataclass
class Model:
    """What is obviously right: who is inside, who was let go, and who waits, by rank."""

    most: int
    inside: dict[UUID, Claimed] = field(default_factory=dict)
    let_go: set[UUID] = field(default_factory=set)
    line: set[UUID] = field(default_factory=set)

    def arrive(self, one: Claimed) -> bool:
        """Whether who asks may come in; else it waits."""
        run = one.run_id
        may = run in self.let_go or self._room() > 0
        self.let_go.discard(run)
        if may:
            self.inside[run] = one
        else:
            self.line.add(run)
        return may

    def move_on(self, rank: Sequence[UUID]) -> None:
        """Let go who is first, while there is room."""
        for run in rank:
            if run in self.line and self._room() > 0:
                self.line.discard(run)
                self.let_go.add(run)

    def _room(self) -> int:
        return self.most - len(self.inside) - len(self.let_go)


@pytest.mark.parametrize("seed", range(3))
def test_slots_behave_like_a_list_of_who_has_one(stage: Stage, seed: int) -> None:
    """W13, Q8: random claims, ends, deaths and cancels, in line, ready and inside."""
    dice = random.Random(seed)
    session = stage.connection
    model = Model(2)
    runs = stage.runs(40)
    for _ in range(200):
        match dice.choice(["claim", "claim", "claim", "end", "end", "die", "cancel"]):
            case "claim":
                for one in stage.take(1):
                    assert (take(session, one) is None) == model.arrive(one)
                    if one.run_id in model.line:
                        give_back(session, in_line(one))
            case "end" if model.inside:
                one = model.inside.pop(dice.choice(list(model.inside)))
                give_back(session, dice.choice([succeed(one), pass_on(one, "b")]))
            case "die" if model.inside:
                one = model.inside.pop(dice.choice(list(model.inside)))
                holder = stage.value(
                    "SELECT holder FROM taskplatform.slots WHERE epoch = %s", one.epoch
                )
                settle(session, [pass_on(one, "a")], worker="w")
                slots.bury(session, holder)
                leases.forget(session, holder)
            case "cancel":
                run = dice.choice(runs)
                if run not in model.let_go:
                    cancel(session, run)
                    model.line.discard(run)
        model.move_on(runs)
        waiting = stage.rows("SELECT run_id FROM taskplatform.work WHERE gate IS NOT NULL")
        assert {run for (run,) in waiting} == model.line
        assert held(stage) == len(model.inside) <= model.most
    assert not stage.wrong()


@pytest.mark.timeout(120)
def test_never_more_than_the_limit_whoever_asks_at_once(stage: Stage) -> None:
    """W13: sixteen sessions over three keys; the bodies themselves count."""
    inside: dict[str, int] = dict.fromkeys("abc", 0)
    most_seen: dict[str, int] = dict.fromkeys("abc", 0)
    runs = stage.runs(90)
    key = {run: "abc"[place % 3] for place, run in enumerate(runs)}
    lock = threading.Condition()
    ended: list[UUID] = []

    def reached(mine: str) -> bool:
        return most_seen[mine] >= 3

    def work(session: Session) -> None:
        holder = leases.register(session, worker=uuid4(), pid=1)
        after = 0
        while len(ended) < len(runs):
            claimed = stage.take(1, holder=holder, connection=session)
            for one in [each for each in claimed if each.epoch > after]:
                after = one.epoch
                gate = gate_of("concurrency", "api", key[one.run_id])
                full = take(session, one, 3, gate)
                if full is not None:
                    waits = in_line(one, gate)
                    waits.slots = Slots(((gate, 3),))
                    settle(session, [waits], worker="w")
                    continue
                mine = key[one.run_id]
                with lock:
                    inside[mine] += 1
                    most_seen[mine] = max(most_seen[mine], inside[mine])
                    lock.notify_all()
                    assert lock.wait_for(partial(reached, mine), 60)
                session.execute("SELECT pg_sleep(0.005)")
                with lock:
                    inside[mine] -= 1
                made = succeed(one)
                made.slots = Slots(((gate, 3),))
                assert settle(session, [made], worker="w")
                ended.append(one.run_id)

    sessions = [stage.session() for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, sessions))
    assert most_seen == {"a": 3, "b": 3, "c": 3}
    assert stage.value("SELECT count(*) FROM taskplatform.slots") == 0
    assert not stage.wrong()
