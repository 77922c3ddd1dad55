"""Batches against a model of them, by random walks over the real tables and a movable clock."""

from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from taskplatform.core.ids import uuid7
from taskplatform.storage import batches, clock
from taskplatform.storage.cancel import cancel
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.inside import enqueue_inside, identity
from taskplatform.storage.new_run import Membership, NewRun
from taskplatform.storage.script import perform
from taskplatform.storage.settle import settle
from tests.integration.models.batches import SIZE, TIMEOUT, Batches
from tests.integration.races.stage import Stage, succeed, wait

KEYS = st.sampled_from("ab")


class Batching(RuleBasedStateMachine):
    """One pipeline whose runs come in batches, and a worker that has nothing else to do."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        for table in ("runs", "work", "step_results", "step_attempts"):
            self.stage.connection.execute(f"DELETE FROM taskplatform.{table}")
        self.model = Batches()
        self.executed: set[UUID] = set()

    @rule(key=KEYS, many=st.integers(1, 7), inside=st.booleans(), forced=st.booleans())
    def enqueue(self, key: str, many: int, inside: bool, forced: bool) -> None:
        """What is stored in a caller's transaction is seen by whoever asks next."""
        session = self.stage.connection
        joined = Membership(f"p.a:{key}", SIZE)
        rows = [
            NewRun(
                id=uuid7(),
                pipeline="p",
                first_step="a",
                queue="q",
                input=b"{}",
                batch=joined,
                delay=TIMEOUT,
            )
            for _ in range(many)
        ]
        if inside:
            with session.transaction():
                perform(session, enqueue_inside([rows], identity(session)))
        else:
            enqueue(session, rows)
            enqueue(session, rows, again=True)
        batches.fill(session, batches.scopes(rows))
        self.model.enqueue(key, [row.id for row in rows])
        if forced:
            (alone,) = self.stage.runs()
            release_due(session)
            expected = [frozenset([alone]), *self.model.execute()]
            assert sorted(map(sorted, self.execute())) == sorted(map(sorted, expected))

    @rule(seconds=st.sampled_from([601, 1801, 3601, 9001]))
    def advance(self, seconds: int) -> None:
        """By a second more than round times: a member may be that much later than its leader."""
        clock.advance(self.stage.connection, seconds)
        self.model.now += seconds

    @rule(fails=st.sampled_from([False, False, True]))
    def work(self, fails: bool) -> None:
        release_due(self.stage.connection)
        found = self.execute(fails)
        assert sorted(map(sorted, found)) == sorted(map(sorted, self.model.execute()))
        if fails and found:
            # The whole of each batch is executed again, and nobody else with it.
            clock.advance(self.stage.connection, 5)
            release_due(self.stage.connection)
            again = self.execute()
            assert {one for batch in again for one in batch} == {
                one for batch in found for one in batch
            }
            assert all(len(batch) <= SIZE for batch in again)

    @rule(place=st.integers(0, 9))
    def cancel(self, place: int) -> None:
        if members := self.model.open():
            run = members[place % len(members)]
            # Whoever is full already is on its way.
            if not self.on_its_way(run):
                assert cancel(self.stage.connection, run)
                self.model.cancel(run)

    def on_its_way(self, run: UUID) -> bool:
        line = next(line for line in self.model.waiting.values() if run in dict(line))
        return len(line) >= SIZE or line[0][1] + TIMEOUT <= self.model.now

    def execute(self, fails: bool = False) -> list[frozenset[UUID]]:
        """Whatever is ready, batch by batch."""
        session = self.stage.connection
        found: list[frozenset[UUID]] = []
        while True:
            holder, after = self.stage.holder(), self.stage.last_epoch()
            led = self.stage.take(1, holder=holder, costs={})
            if not led:
                return found
            others = batches.gather(
                session, leader=led[0], holder=holder, after=led[0].epoch, many=SIZE - 1
            )
            assert all(one.epoch > led[0].epoch > after for one in others)
            batch = [*led, *others]
            assert all(one.started for one in batch)
            ends = [
                wait(one, 5 + (batches.LATER if one is not led[0] else 0))
                if fails
                else succeed(one)
                for one in batch
            ]
            assert len(settle(session, ends, worker="w")) == len(batch)
            runs = frozenset(one.run_id for one in batch)
            if not fails:
                assert not runs & self.executed
                self.executed |= runs
            found.append(runs)


def test_batches_are_the_models(stage: Stage) -> None:
    """C4: N or T, in the order of the calls, every run in one batch; a retry of all of one."""
    run_state_machine_as_test(
        type("OneBatching", (Batching,), {"stage": stage}),
        settings=settings(
            deadline=None,
            derandomize=True,
            database=None,
            max_examples=20,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
