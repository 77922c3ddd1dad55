"""Rescue: give back the work of a holder that is gone, through the fence like everything else."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from taskplatform.core import registry
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import TimedOut
from taskplatform.errors import PipelineNotFound
from taskplatform.executor import verdict
from taskplatform.executor.branch import Branch, open_branch
from taskplatform.executor.costs import Costs
from taskplatform.executor.ending import fails, settled
from taskplatform.executor.notes import Note
from taskplatform.storage import breakers, leases, retry_budgets, slots
from taskplatform.storage.claim import Claimed, held_by
from taskplatform.storage.claim_each import held_by_each
from taskplatform.storage.connection import Session
from taskplatform.storage.gates import gate_of
from taskplatform.storage.orphans import cancel_children
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Attempt, PutBack, Settlement

logger = logging.getLogger(__name__)

# Crashes of a step alone, within 24 hours, after which a person has to look; takeovers of it,
# when nobody saw its process die and it may live on, are counted apart.
MOST_CRASHES = 3
MOST_TAKEOVERS = 3
_CRASHED = Failure("Crashed", "the process that executed it died", "")
_TAKEN_OVER = Failure("TakenOver", "its worker fell silent; it may have been executing still", "")
_TAKE_BACK_TRIES = 5
_OVERDUE = ("timed-out", "silent")


@dataclass(frozen=True, slots=True)
class Loss:
    """What is known of a lost holder.

    `cause` is crashed, timed-out, silent or interrupted. `note` is the body that was running; when
    it is not `certain`, nobody saw what ran and a lone branch is taken to be it.
    """

    holder: int
    cause: str
    note: Note | None
    certain: bool


@dataclass(frozen=True, slots=True)
class Rescuer:
    """Gives back lost work; `name` is the worker that it is recorded under."""

    name: str
    default_queue: str
    put_off_limit: float

    def rescue(self, connection: Session, loss: Loss) -> set[str]:
        """Give back what the holder held; return the queues that have ready work by it."""
        held = held_by(connection, loss.holder)
        for one in held:
            if loss.cause in ("timed-out", "silent") and _is_running(one, loss):
                self._blame(connection, one)
        settlements = [self._settlement(connection, one, loss, len(held) == 1) for one in held]
        accepted = settle(connection, settlements, worker=self.name) if settlements else set()
        woken = slots.bury(connection, loss.holder)
        leases.forget(connection, loss.holder)
        if failed := [one.run_id for one in settlements if fails(one) and one.work_id in accepted]:
            cancel_children(connection, failed)
        if accepted:
            logger.warning(
                "gave back %d run(s) of holder %d (%s)", len(accepted), loss.holder, loss.cause
            )
        return set(woken) | {
            one.then.queue
            for one in settlements
            if one.work_id in accepted and isinstance(one.then, PutBack) and one.then.delay is None
        }

    def take_back(self, connection: Session, holder: int, running: Note) -> set[str]:
        """Give back what a busy child has claimed and not started; return the queues to ring."""
        ring: set[str] = set()
        # What goes on to its next step meanwhile is refused, and asked for again as it stands.
        for _ in range(_TAKE_BACK_TRIES):
            held = held_by(connection, holder)
            if (running.work_id, running.epoch) not in {(one.work_id, one.epoch) for one in held}:
                # The body has ended: this may be the child's next claim, which it will execute.
                break
            rest = [one for one in held if one.work_id != running.work_id]
            if not rest:
                break
            accepted = settle(connection, [self._released(one) for one in rest], worker=self.name)
            ring |= {one.queue for one in rest if one.work_id in accepted}
        return ring

    def take_back_waiting(
        self, connection: Session, waiting: Sequence[tuple[int, int]]
    ) -> set[str]:
        """Give back what nobody has begun, (holder, work); return the queues to ring."""
        work = {one for _, one in waiting}
        found = held_by_each(connection, [holder for holder, _ in waiting])
        held = [one for _, one in found if one.work_id in work]
        if held:
            settle(connection, [self._released(one) for one in held], worker=self.name)
        return {one.queue for one in held}

    def hand_back(self, connection: Session, holder: int, note: Note) -> set[str]:
        """Give back the running body's work at the end of a shutdown's grace."""
        loss = Loss(holder, "interrupted", note, certain=True)
        held = [one for one in held_by(connection, holder) if one.work_id == note.work_id]
        settlements = [self._settlement(connection, one, loss, True) for one in held]
        settle(connection, settlements, worker=self.name)
        return {one.queue for one in held}

    def _settlement(self, connection: Session, one: Claimed, loss: Loss, lone: bool) -> Settlement:
        running = (
            _is_running(one, loss)
            if loss.note is not None
            else not loss.certain and lone and one.started and one.rest != "branches"
        )
        # The others of a batch had their bodies with the one that is noted.
        fellow = not running and loss.note is not None and one.started and self._in_batch(one)
        if not running and not (fellow and loss.cause in _OVERDUE):
            alone = loss.cause == "crashed" and (fellow or not loss.certain)
            return self._released(one, alone=alone)
        started_ago = monotonic() - loss.note.started_ns / 1e9 if loss.note is not None else None
        if loss.cause in _OVERDUE:
            return self._timed_out(one, started_ago or 0.0, loss.cause)
        if loss.cause == "interrupted":
            attempt = Attempt(_label(one), "interrupted", None, started_ago)
            return self._settled(one, self._ready(one, tried=True), attempt)
        if loss.certain:
            return self._crashed(connection, one, started_ago, lone)
        return self._taken_over(connection, one)

    def _crashed(
        self, connection: Session, one: Claimed, started_ago: float | None, lone: bool
    ) -> Settlement:
        label = _label(one)
        attempt = Attempt(label, "crashed", _CRASHED.encode(), started_ago, alone=lone)
        crashes = leases.crashes(connection, one.run_id, label) + 1
        if not lone or crashes < MOST_CRASHES:
            return self._settled(one, self._ready(one, tried=True, alone=True), attempt)
        return self._parked(one, attempt, f"step {label} crashed {crashes} times in 24 hours")

    def _taken_over(self, connection: Session, one: Claimed) -> Settlement:
        label = _label(one)
        attempt = Attempt(label, "crashed", _TAKEN_OVER.encode(), None, alone=True)
        times = leases.crashes(connection, one.run_id, label, taken_over=True) + 1
        if times < MOST_TAKEOVERS:
            return self._settled(one, self._ready(one, tried=True, alone=True), attempt)
        why = f"step {label} was taken over {times} times in 24 hours from workers that fell silent"
        return self._parked(one, attempt, why)

    def _parked(self, one: Claimed, attempt: Attempt, why: str) -> Settlement:
        then = PutBack(
            one.step,
            one.queue,
            delay=float("inf"),
            reason="parked",
            waiting_for=why,
            failures=one.failures,
            put_off=one.put_off,
            tried=True,
            alone=True,
        )
        return self._settled(one, then, attempt)

    def _timed_out(self, one: Claimed, started_ago: float, cause: str) -> Settlement:
        branch = self._branch(one)
        if branch is None:
            return self._released(one)
        branch.step_started_at = monotonic() - started_ago
        what = f"the attempt ignored its timeout of {branch.step.timeout:g} s"
        if cause == "silent":
            what = f"the body reported nothing for {branch.step.heartbeat or 0:g} s and did not end"
        failure = Failure("TimeLimitExceeded", f"{what}, and was killed", "")
        disposition = verdict.judge(branch, TimedOut(failure), self.put_off_limit)
        made = verdict.settlement(
            branch,
            disposition,
            default_queue=self.default_queue,
            costs=Costs(),
            room=verdict.Room(),
            go_on=False,
        )
        return verdict.expecting(made, one.step)

    def _blame(self, connection: Session, one: Claimed) -> None:
        """Tell the retry budget and the breakers that a body did not end in time."""
        retry_budgets.count(connection, [retry_budgets.Count(one.pipeline, 0.0, 0, 1)])
        branch = self._branch(one)
        for breaker in branch.step.breakers if branch else ():
            tried = slots.holds(connection, gate_of("breaker", breaker.name), one.epoch)
            breakers.report(connection, breaker, failed=1, why="it did not end", tried=tried)

    def _branch(self, one: Claimed) -> Branch | None:
        try:
            return open_branch(one, registry.get(one.pipeline))
        except PipelineNotFound:
            return None

    def _in_batch(self, one: Claimed) -> bool:
        branch = self._branch(one)
        return branch is not None and branch.step.batch is not None

    def _released(self, one: Claimed, *, alone: bool = False) -> Settlement:
        return self._settled(one, self._ready(one, alone=alone), None)

    def _ready(self, one: Claimed, *, tried: bool = False, alone: bool = False) -> PutBack:
        return PutBack(
            one.step,
            one.queue,
            failures=one.failures,
            put_off=one.put_off,
            tried=tried,
            alone=alone,
        )

    def _settled(self, one: Claimed, then: PutBack, attempt: Attempt | None) -> Settlement:
        return verdict.expecting(settled(one, then, attempt=attempt), one.step)


def _is_running(one: Claimed, loss: Loss) -> bool:
    note = loss.note
    return note is not None and (note.work_id, note.epoch) == (one.work_id, one.epoch)


def _label(one: Claimed) -> str:
    return one.step if one.position is None else f"{one.step}[{one.position}]"


def lost_holders(connection: Session) -> Sequence[Loss]:
    """Holders whose lease ran out; what they were doing, nobody saw."""
    return [Loss(holder, "crashed", None, certain=False) for holder in leases.lost(connection)]
