"""All that can happen to runs, as the rules of a machine, each with what the model says of it."""

from itertools import pairwise
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from taskplatform.core.ids import uuid7
from taskplatform.core.run import TRANSITIONS, Status
from taskplatform.errors import Conflict, KeyTaken
from taskplatform.storage import clock, leases, throttles
from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed, claim, claim_run
from taskplatform.storage.dispatch import outlook, release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.progress import Told, write
from taskplatform.storage.prune import prune
from taskplatform.storage.replay import replay
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.running import mark, still_held
from taskplatform.storage.settle import committed, settle
from taskplatform.storage.settlement import Settlement
from taskplatform.supervisor.rescue import Rescuer, lost_holders
from tests.integration.models import journal
from tests.integration.models.model import DAY, ENDED, HOUR, LIMIT, STEPS, WINDOW, Model, Run
from tests.integration.models.moves import MOVES, move
from tests.integration.models.stored import expected, stored_runs
from tests.integration.races.stage import FREE, Stage

TABLES = "runs, work, step_results, step_attempts, keys, holders, throttle_buckets, throttle_slices"
RESCUER = Rescuer("rescuer", "q", 60.0)
RETENTION = 30
# Ids are in order of creation, which has to be long ago for retention to see a run.
_AGO = int(40 * DAY * 1000) << 80
WORKERS = st.integers(0, 2)
PLACES = st.integers(0, 11)
WINDOWS = st.sampled_from([None, HOUR])
FATES = st.lists(st.sampled_from(MOVES), min_size=1, max_size=3)
SELDOM = st.sampled_from([False, False, False, True])


class Life(RuleBasedStateMachine):
    """One database, one sequence of what clients, workers, supervisors and people do."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        for name in TABLES.split(", "):
            self.stage.connection.execute(f"DELETE FROM taskplatform.{name}")
        journal.forget(self.stage)
        self.model = Model()
        self.claims: list[Claimed] = []
        self.workers = [self.register() for _ in range(3)]
        self.rings: set[str] = set()

    def register(self) -> int:
        holder = self.stage.holder()
        self.model.leases[holder] = True
        return holder

    @initialize(key=st.sampled_from([None, "k"]))
    def begin(self, key: str | None) -> None:
        """With something to do."""
        self.enqueue(key, None, None, False, False)
        self.enqueue(None, "r", None, False, False)

    @rule(
        key=st.sampled_from([None, "k", "l"]),
        request=st.sampled_from([None, None, "r", "s"]),
        delay=st.sampled_from([None, None, HOUR]),
        forced=st.booleans(),
        twice=st.booleans(),
    )
    def enqueue(
        self, key: str | None, request: str | None, delay: float | None, forced: bool, twice: bool
    ) -> None:
        """`twice`: the answer to the first call was lost."""
        id = UUID(int=uuid7().int - _AGO)
        new = NewRun(
            id=id,
            pipeline="p",
            first_step="a",
            queue="q",
            input=b"{}",
            key=key,
            delay=delay,
            forced=forced,
            request_id=request,
        )
        (answer,) = enqueue(self.stage.connection, [new])
        if twice:
            (answer,) = enqueue(self.stage.connection, [new], again=True)
        assert answer.id == self.model.enqueue(id, key, request, delay, forced)
        assert answer.created is (answer.id == id)
        self.rings.add("q")

    @rule(worker=WORKERS, limit=st.integers(1, 3), unknown=st.booleans(), asleep=st.booleans())
    def claim(self, worker: int, limit: int, unknown: bool, asleep: bool) -> None:
        """`asleep`: a holder that was given up meanwhile does not know of that."""
        if self.workers[worker] not in self.model.leases and not asleep:
            self.workers[worker] = self.register()
        holder = self.workers[worker]
        expected = self.model.claim(limit, unknown)
        taken, _ = claim(
            self.stage.connection,
            holder=holder,
            after=self.stage.last_epoch(),
            queues=["q"],
            pipelines=["p"],
            limit=limit,
            costs={} if unknown else FREE,
            budget=1.0,
        )
        assert [one.run_id for one in taken] == expected
        self.take(taken, holder, unknown)

    @rule(worker=WORKERS, limit=st.integers(1, 3), moves=FATES, window=WINDOWS)
    def shift(self, worker: int, limit: int, moves: list[str], window: float | None) -> None:
        """Claim, and commit step after step, which is how runs get anywhere."""
        before = len(self.claims)
        self.claim(worker, limit, False, False)
        for one in self.claims[before:]:
            for what in moves:
                self.offer(one, what, window)

    @rule(worker=WORKERS, place=PLACES)
    def claim_one(self, worker: int, place: int) -> None:
        """As the message of a canvas does."""
        holder = self.workers[worker]
        if not self.model.runs or holder not in self.model.leases:
            return
        id, run = self.pick(place)
        after = self.stage.last_epoch()
        taken = claim_run(self.stage.connection, holder=holder, after=after, run_id=id)
        assert [one.run_id for one in taken] == [id] * run.ready
        self.take(taken, holder, True)

    def take(self, taken: list[Claimed], holder: int, unknown: bool) -> None:
        for one in taken:
            run = self.model.runs[one.run_id]
            assert (one.step, set(one.outputs)) == (run.step, run.done)
            self.model.take(one.run_id, holder, one.epoch, unknown)
        self.claims += taken

    @rule(place=PLACES, what=st.sampled_from(MOVES), window=WINDOWS)
    def commit(self, place: int, what: str, window: float | None) -> None:
        """By whoever once held the work: a zombie says what it knew then."""
        if self.claims:
            self.offer(self.claims[-1 - place % len(self.claims)], what, window)

    def offer(self, one: Claimed, what: str, window: float | None) -> None:
        run = self.model.runs.get(one.run_id)
        holds = run is not None and run.epoch == one.epoch
        if run is not None and holds:
            one.step = run.step
        made, happens = move(one, what, window)
        assert self.settle(made) is holds
        if run is not None and holds:
            happens(self.model, run)

    def settle(self, made: Settlement) -> bool:
        """Whether it was accepted; an attempt that was is found stored, any other is not."""
        accepted = settle(self.stage.connection, [made], worker="w") == {made.work_id}
        if accepted and (made.result or made.attempt):
            assert committed(self.stage.connection, [made]) == {made.work_id}
        return accepted

    @rule(place=PLACES)
    def heartbeat(self, place: int) -> None:
        """A lease is renewed, a long body marked, its progress written, if all that still is."""
        lives = leases.renew(self.stage.connection, self.workers)
        assert lives == set(self.workers) & set(self.model.leases)
        self.model.leases |= dict.fromkeys(lives, True)
        if not self.claims:
            return
        one = self.claims[-1 - place % len(self.claims)]
        run = self.model.runs.get(one.run_id)
        holds = run is not None and run.epoch == one.epoch
        session = self.stage.connection
        assert still_held(session, [(one.work_id, one.epoch)]) == (
            {one.work_id} if holds else set()
        )
        mark(session, work_id=one.work_id, epoch=one.epoch, started_ago=0.0)
        holder = run.holder if run is not None and holds and run.holder else self.workers[0]
        told = Told(one.work_id, one.epoch, holder, 1.0, 2.0, 0.0)
        assert write(session, [told]) == int(holds)
        if run is not None and holds:
            run.started = True
            self.model.start(run)

    @rule(worker=WORKERS)
    def expire(self, worker: int) -> None:
        """The lease runs out; nobody has noticed yet."""
        self.stage.connection.execute(
            "UPDATE taskplatform.holders SET lease_until = '-infinity' WHERE id = %s",
            (self.workers[worker],),
        )
        if self.workers[worker] in self.model.leases:
            self.model.leases[self.workers[worker]] = False

    @rule()
    def sweep(self) -> None:
        """What a supervisor does every second."""
        losses = lost_holders(self.stage.connection)
        assert [loss.holder for loss in losses] == self.model.lost()
        for loss in losses:
            self.rings |= RESCUER.rescue(self.stage.connection, loss)
            self.model.rescue(loss.holder)
        self.model.release()
        self.rings |= set(release_due(self.stage.connection))
        self.model.prune(RETENTION)
        prune(self.stage.connection, RETENTION)

    @rule()
    def flush(self) -> None:
        """All rings are lost: who looks sees what is ready."""
        self.rings.clear()
        seen = outlook(self.stage.connection, ["q"], ["p"])
        assert seen.ready == ["q"] * any(run.ready for run in self.model.runs.values())

    @rule(seconds=st.sampled_from([HOUR / 3, HOUR, HOUR, DAY, 31 * DAY]))
    def advance(self, seconds: float) -> None:
        clock.advance(self.stage.connection, seconds)
        self.model.now += seconds

    @rule()
    def grant(self) -> None:
        """I7: somebody is about to start a throttled body."""
        given = throttles.ask(
            self.stage.connection, [throttles.Wanted("api", "", limit=LIMIT, window=WINDOW)]
        )
        assert isinstance(given, throttles.Grant) is self.model.granted()

    @rule(place=PLACES, sure=SELDOM)
    def cancel(self, place: int, sure: bool) -> None:
        if not self.model.runs or not sure:
            return
        id, run = self.pick(place)
        open = run.status not in ENDED
        assert cancel(self.stage.connection, id) is open
        assert cancel(self.stage.connection, id, again=True) is (run.status == "cancelled" or open)
        if open:
            run.bad += ["cancelled"] * (run.holder is not None and run.started)
            self.model.end(id, "cancelled", None)

    @rule(place=PLACES)
    def retry(self, place: int) -> None:
        if not self.model.runs:
            return
        id, run = self.pick(place)
        step = next((step for step in STEPS if step not in run.done), "c")
        try:
            taken_up = retry(self.stage.connection, id, lambda *_: Next(step, "q")).taken_up
            said = "taken-up" if taken_up else "queued"
        except KeyTaken:
            said = "taken"
        except Conflict:
            said = "conflict"
        assert said == self.model.retry(id)

    @rule(place=PLACES, from_step=st.sampled_from([None, "b", "c"]), twice=st.booleans())
    def replay(self, place: int, from_step: str | None, twice: bool) -> None:
        if not self.model.runs:
            return
        old, run = self.pick(place)
        reused = list(STEPS[: STEPS.index(from_step or "a")])
        id = UUID(int=uuid7().int - _AGO)
        new = NewRun(
            id=id,
            pipeline="p",
            first_step=from_step or "a",
            queue="q",
            input=b"{}",
            key=run.key,
            replay_of=old,
            replay_from=from_step,
        )
        try:
            for _ in range(1 + twice):
                assert replay(self.stage.connection, new, reused).id == id
        except Conflict:
            assert not set(reused) <= run.done
            return
        assert set(reused) <= run.done
        order = self.model.next_order()
        self.model.runs[id] = Run("queued", order, run.key, step=from_step or "a")
        self.model.runs[id].reused = set(reused)

    def pick(self, place: int) -> tuple[UUID, Run]:
        """One of the latest; of too many, nothing would happen to any."""
        latest = sorted(self.model.runs, key=lambda id: self.model.runs[id].order)[-5:]
        id = latest[place % len(latest)]
        return id, self.model.runs[id]

    @invariant()
    def the_tables_hold_what_they_promise(self) -> None:
        found = [*self.stage.wrong(), *journal.wrong(self.stage)]
        assert not found, found
        for states in journal.states(self.stage).values():
            for before, after in pairwise(states):
                assert before == after or Status(after) in TRANSITIONS[Status(before)]

    @invariant()
    def the_database_agrees_with_the_model(self) -> None:
        stored = stored_runs(self.stage)
        assert stored == {id: expected(run) for id, run in self.model.runs.items()}
        keys = self.stage.rows(
            "SELECT key, run_id FROM taskplatform.keys"
            " WHERE expires_at IS NULL OR expires_at > clock_timestamp()"
        )
        owned = {key: owner for key in self.model.keys if (owner := self.model.owner(key))}
        assert dict(keys) == owned
