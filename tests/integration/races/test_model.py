"""The life of runs against a small model, by random walks that Hypothesis shrinks."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from taskplatform.core.ids import uuid7
from taskplatform.core.run import TRANSITIONS, Status
from taskplatform.errors import Conflict, KeyTaken
from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Settlement
from taskplatform.supervisor.rescue import Rescuer, lost_holders
from tests.integration.races.stage import (
    FREE,
    Stage,
    fail,
    give_back,
    keep,
    pass_on,
    succeed,
    wait,
)

STEPS = ("a", "b", "c")
TABLES = "runs, work, step_results, step_attempts, keys, holders"
RESCUER = Rescuer("rescuer", "q", 60.0)
HOUR = 3600.0


@dataclass
class Model:
    """What should be known of a run."""

    status: str
    key: str | None
    step: str = "a"
    epoch: int | None = None
    holder: int | None = None
    outputs: list[str] = field(default_factory=list)
    bad_attempts: int = 0
    parked: bool = False


class Life(RuleBasedStateMachine):
    """One database, one sequence of what workers, supervisors and people do."""

    stage: Stage

    claims: Bundle[tuple[Claimed, int]] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.stage.connection.execute(
            "TRUNCATE " + ", ".join(f"taskplatform.{name}" for name in TABLES.split(", "))
        )
        self.runs: dict[UUID, Model] = {}
        # Key to (run, does its window still cover it after its end?).
        self.keys: dict[str, UUID] = {}

    @rule(
        key=st.sampled_from([None, "k", "l"]),
        delay=st.sampled_from([None, HOUR]),
        forced=st.booleans(),
    )
    def enqueue(self, key: str | None, delay: float | None, forced: bool) -> None:
        new = NewRun(
            id=uuid7(),
            pipeline="p",
            first_step="a",
            queue="q",
            input=b"{}",
            key=key,
            delay=delay,
            forced=forced,
        )
        (answer,) = enqueue(self.stage.connection, [new])
        owner = self.keys.get(key) if key and not forced else None
        if owner is not None:
            assert (answer.id, answer.created) == (owner, False)
            return
        assert (answer.id, answer.created) == (new.id, True)
        self.runs[new.id] = Model("scheduled" if delay else "queued", None if forced else key)
        if key and not forced:
            self.keys[key] = new.id

    @rule(target=claims, limit=st.integers(1, 3), unknown=st.booleans())
    def claim(self, limit: int, unknown: bool) -> Any:
        ready = [
            run for run, model in self.runs.items() if model.status == "queued" and not model.epoch
        ]
        holder = self.stage.holder()
        suspects = self.stage.connection.execute(
            "SELECT count(*) FROM taskplatform.work WHERE alone AND holder IS NULL"
        ).fetchone()
        taken = self.stage.take(limit, holder=holder, costs={} if unknown else FREE)
        most = min(len(ready), 1 if unknown else limit)
        # A suspect of a crash is claimed alone: it ends what is taken with it, or before it.
        assert min(most, 1) <= len(taken) <= most
        assert suspects != (0,) or len(taken) == most
        for one in taken:
            model = self.runs[one.run_id]
            assert one.run_id in ready
            assert one.step == model.step
            assert sorted(one.outputs) == sorted(model.outputs)
            assert one.key == model.key or model.key is None
            model.epoch, model.holder = one.epoch, holder
            if one.started:
                self.to(model, "running")
        return multiple(*((one, holder) for one in taken))

    @rule(
        claim=claims,
        what=st.sampled_from(["go on", "mark", "pass on", "retry", "park", "back", "fail", "end"]),
        window=st.sampled_from([None, HOUR]),
    )
    def settle(self, claim: tuple[Claimed, int], what: str, window: float | None) -> None:
        one, _ = claim
        model = self.runs[one.run_id]
        # A zombie does not know that its run has moved on: it says what it knew then.
        holds = model.epoch == one.epoch
        one.step = model.step if holds else one.step
        following = STEPS[min(STEPS.index(one.step) + 1, 2)]
        if one.step == "c" and what in ("go on", "mark", "pass on"):
            what = "end"
        made: dict[str, Settlement] = {
            "go on": keep(one, following),
            "mark": keep(one, following, mark=True),
            "pass on": pass_on(one, following),
            "retry": wait(one, HOUR),
            "park": wait(one, float("inf"), "parked"),
            "back": give_back(one),
            "fail": fail(one, key_seconds=window),
            "end": succeed(one, key_seconds=window),
        }
        accepted = settle(self.stage.connection, [made[what]], worker="w")
        assert accepted == ({one.work_id} if holds else set())
        if not holds:
            return
        if what in ("go on", "mark", "pass on", "end"):
            model.outputs.append(one.step)
        if what in ("retry", "park", "fail"):
            model.bad_attempts += 1
        if what in ("go on", "mark"):
            model.step = following
            self.to(model, "running" if what == "mark" else model.status)
            return
        model.epoch = model.holder = None
        model.step = following if what == "pass on" else one.step
        model.parked = what == "park"
        after = {"retry": "waiting", "park": "waiting", "fail": "failed", "end": "succeeded"}
        self.to(model, after.get(what, "queued"))
        if what in ("fail", "end") and window is None:
            self.free(one.run_id)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.runs:
            return
        run = data.draw(st.sampled_from(sorted(self.runs)))
        model = self.runs[run]
        done = cancel(self.stage.connection, run)
        assert done is (model.status not in ("succeeded", "failed", "cancelled"))
        if done:
            started = self.stage.attempts(run)[model.bad_attempts :]
            assert [outcome for *_, outcome in started] in ([], ["cancelled"])
            model.bad_attempts += len(started)
            model.epoch = model.holder = None
            self.to(model, "cancelled")
            self.free(run)

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        if not self.runs:
            return
        run = data.draw(st.sampled_from(sorted(self.runs)))
        model = self.runs[run]
        heir = self.keys.get(model.key) if model.key else None
        step = next((step for step in STEPS if step not in model.outputs), "c")
        try:
            taken_up = retry(self.stage.connection, run, lambda *_: Next(step, "q")).taken_up
        except KeyTaken:
            assert model.status == "failed"
            assert heir not in (None, run)
            return
        except Conflict:
            assert model.status in ("scheduled", "running", "succeeded", "cancelled")
            return
        assert taken_up is (model.status != "queued")
        if taken_up:
            if model.status == "failed":
                model.step = step
                if model.key:
                    self.keys[model.key] = run
            model.parked = False
            self.to(model, "queued")

    @rule()
    def let_an_hour_pass(self) -> None:
        """All timers and windows but those of leases."""
        for table, column in (("work", "due_at"), ("runs", "due_at"), ("keys", "expires_at")):
            self.stage.connection.execute(
                f"UPDATE taskplatform.{table} SET {column} = {column} - interval '1 hour'"
                f" WHERE {column} < 'infinity'"
            )
        for run in list(self.keys.values()):
            if self.runs[run].status in ("succeeded", "failed"):
                self.free(run)

    @rule()
    def dispatch(self) -> None:
        due = {
            run
            for run, status in self.stage.rows(
                "SELECT id, status FROM taskplatform.runs WHERE due_at <= clock_timestamp()"
            )
        }
        assert sum(release_due(self.stage.connection).values()) == len(due)
        for run in due:
            assert self.runs[run].status in ("scheduled", "waiting")
            assert not self.runs[run].parked
            self.to(self.runs[run], "queued")

    @rule(claim=claims)
    def lose(self, claim: tuple[Claimed, int]) -> None:
        """The holder's lease runs out, and somebody rescues what it held."""
        _, holder = claim
        self.stage.connection.execute(
            "UPDATE taskplatform.holders SET lease_until = '-infinity' WHERE id = %s", (holder,)
        )
        for loss in lost_holders(self.stage.connection):
            RESCUER.rescue(self.stage.connection, loss)
        for run, model in self.runs.items():
            if model.holder == holder:
                model.epoch = model.holder = None
                model.bad_attempts = len(self.stage.attempts(run))
                model.parked = self.stage.status(run) == "waiting"
                self.to(model, "waiting" if model.parked else "queued")

    def to(self, model: Model, status: str) -> None:
        if status != model.status:
            assert Status(status) in TRANSITIONS[Status(model.status)]
        model.status = status

    def free(self, run: UUID) -> None:
        for key in [key for key, owner in self.keys.items() if owner == run]:
            del self.keys[key]

    @invariant()
    def the_tables_hold_what_they_promise(self) -> None:
        assert not self.stage.wrong()

    @invariant()
    def the_database_agrees_with_the_model(self) -> None:
        stored = self.stage.rows("SELECT id, status FROM taskplatform.runs")
        assert dict(stored) == {run: model.status for run, model in self.runs.items()}
        outputs = self.stage.rows("SELECT run_id, step_name FROM taskplatform.step_results")
        assert sorted(outputs) == sorted(
            (run, step) for run, model in self.runs.items() for step in model.outputs
        )
        attempts = self.stage.value("SELECT count(*) FROM taskplatform.step_attempts")
        assert attempts == sum(model.bad_attempts for model in self.runs.values())


@pytest.mark.timeout(120)
def test_the_life_of_runs(stage: Stage) -> None:
    """G3, G4, G5, G6, G7, G10: every walk through the transitions ends where the model does."""
    machine = type("OneLife", (Life,), {"stage": stage})
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None,
            max_examples=60,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
