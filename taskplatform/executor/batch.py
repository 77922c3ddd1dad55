"""Batch: take claimed branches through their steps, wave by wave, each wave one commit.

A wave executes the next step of every branch held; a branch goes on to its following step only
when its own output is durable. A wave holds no more than fits a few milliseconds of expected
work, so at most the bodies that ended within that time are uncommitted when a child dies.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Any

import psycopg

from taskplatform.core import registry
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import Failed, Interrupted, Outcome, Succeeded
from taskplatform.core.shapes import Kind
from taskplatform.core.step import Unreadable
from taskplatform.errors import PipelineNotFound, Unavailable
from taskplatform.executor import company, impatience, standing, verdict
from taskplatform.executor.admission import admit, give_up
from taskplatform.executor.attempt import arguments_of, attempt
from taskplatform.executor.begun import Revoked
from taskplatform.executor.branch import Branch, open_branch
from taskplatform.executor.child import Child
from taskplatform.executor.company import Pending
from taskplatform.executor.ending import fails
from taskplatform.executor.garbage import seldom_collected
from taskplatform.executor.rests import move, rests, spawn
from taskplatform.storage.claim import Claimed
from taskplatform.storage.settlement import Keep, Settlement

logger = logging.getLogger(__name__)

Ring = Callable[[dict[str, int]], None]
# What became of a transactional body: stored, to be settled as it says, or refused (None).
Stored = Pending | Outcome | None


class Batch:
    """The branches that a child holds, until it holds none."""

    def __init__(self, child: Child, ring: Ring) -> None:
        self._child = child
        self._ring = ring
        self._ended: list[tuple[Branch, Outcome | Settlement]] = []
        self._oldest = 0.0
        self._going_on: list[Branch] = []
        self._room = verdict.Room()
        # By pipeline, for as long as one commit takes to be made.
        self._goes_on: dict[str, bool] = {}
        self._guard = threading.Lock()

    def execute(self, claimed: Sequence[Claimed]) -> None:
        """Execute what was claimed, as far as it goes here."""
        try:
            self._execute(claimed)
        except BaseException:
            # While the child lives, nobody else would ever be given what it holds.
            self._child.forsake()
            raise
        finally:
            self._child.time_limit.rest()
            self._child.lanes.refund(claimed)

    def _execute(self, claimed: Sequence[Claimed]) -> None:
        self._child.slot.revoke = self._child.slot.owes = False
        wave = self._open(claimed)
        with ExitStack() as stack:
            # The first outcome of a lone branch is committed at once: nobody has to be impatient.
            if len(wave) > 1:
                stack.enter_context(self._child.impatience.during(self.commit))
                if self._child.time_limit.available:
                    stack.enter_context(seldom_collected())
            while wave:
                self._child.slot.batch = len(wave)
                self._room = verdict.Room()
                self._going_on = []
                self._walk(wave)
                wave = self._going_on
        self._child.slot.batch = 0

    def _open(self, claimed: Sequence[Claimed]) -> list[Branch]:
        branches: list[Branch] = []
        open, aside = self._child.link.paused.sorted(claimed)
        admitted, others = admit(self._child, open)
        others += aside
        for one in admitted:
            try:
                declaration = registry.get(one.pipeline)
            except PipelineNotFound as error:
                others.append(standing.parked(one, self._child.default_queue, str(error)))
                continue
            if one.rest == "branches" and one.open_branches:
                others.append(standing.joining(one, self._child.default_queue))
            elif branch := open_branch(one, declaration):
                branches.append(branch)
                if move_on := standing.moved_on(branch, self._child.default_queue):
                    others.append(move_on)
            else:
                others.append(standing.standing(one, declaration, self._child.default_queue))
        if others:
            accepted = self._child.settle(others)
            committed = [one for one in others if one.work_id in accepted]
            self._follow_up(committed)
            branches = standing.still_here(branches, others, committed)
        return branches

    def _walk(self, wave: list[Branch]) -> None:
        child = self._child
        over = child.must_end()
        for position, branch in enumerate(wave):
            if over or child.must_stop() or not self._step(branch):
                self.commit()
                # Also what was to go on: it may have been taken back together with the rest.
                self._release([*self._going_on, *wave[position:]])
                self._going_on = []
                return
            # Who waits for its slots should not wait for the rest of the wave.
            waited = branch.step_ended_at - self._oldest
            if branch.claimed.gates or waited > impatience.PATIENCE:
                self.commit()
        self.commit()

    def _step(self, branch: Branch) -> bool:
        outcome = self._attempted(branch, self._outcome, self._child, branch)
        if outcome is None:
            return False
        with self._guard:
            if branch.step.transactional and type(outcome) is Succeeded:
                self._add_stored(branch, self._store(self._child, branch, outcome))
            else:
                self._add(branch, outcome)
        return True

    def _attempted(
        self, branch: Branch, attempt: Callable[..., Outcome | Settlement], *given: Any
    ) -> Outcome | Settlement | None:
        """What an attempt at the branch's next step comes to; None: its body was not started."""
        left = branch.seconds_left
        if left is not None and left <= 0:
            return standing.out_of_time(branch, self._child.default_queue)
        try:
            return attempt(*given)
        except Unreadable as error:
            queue = branch.step.queue or self._child.default_queue
            return standing.parked(branch.claimed, queue, str(error))
        except Revoked:
            return None
        except (psycopg.Error, Unavailable) as error:
            logger.warning("step %s not started: %s", branch.step.task_name, error)
            return None

    def _store(self, child: Child, branch: Branch, outcome: Succeeded) -> Stored:
        """Commit what a transactional body wrote with its result, on its own connection."""
        # Alone: no other run may share, or wait for, a transaction with a user's statements in it.
        settlement = self._judge(branch, outcome)
        try:
            stored = child.settle_with_body(settlement)
        except psycopg.Error as error:
            return Failed(Failure.of(error))
        if stored is None:
            return Interrupted()
        return (branch, settlement, outcome) if stored else None

    def _add_stored(self, branch: Branch, stored: Stored) -> None:
        if isinstance(stored, tuple):
            self._go_on([stored], {stored[1].work_id})
        elif stored is not None:
            self._add(branch, stored)

    def _outcome(self, child: Child, branch: Branch) -> Outcome | Settlement:
        is_body = branch.step.is_body
        if not is_body and rests(branch):
            began = monotonic()
            if (moved := move(child, branch)) is not None:
                # Cheap, and known to be: thousands that rest are claimed in batches, too.
                child.costs.observe(branch.step.task_name, monotonic() - began)
                return moved
        outcome = attempt(child, branch, arguments_of(child, branch))
        if not is_body and branch.step.kind is Kind.CHILD and isinstance(outcome, Succeeded):
            return spawn(child, branch, outcome.output)
        return outcome

    def _add(self, branch: Branch, outcome: Outcome | Settlement) -> None:
        if not self._ended:
            self._oldest = monotonic()
            self._child.slot.owes = True
        self._ended.append((branch, outcome))

    def _judged(self, ended: Sequence[tuple[Branch, Outcome | Settlement]]) -> list[Pending]:
        self._goes_on.clear()
        pending: list[Pending] = []
        for branch, made in ended:
            if isinstance(made, Settlement):
                pending.append((branch, made, None))
            elif branch.company:
                pending += company.judged(self._judge, branch, made)
            else:
                pending.append((branch, self._judge(branch, made), made))
        return pending

    def _judge(self, branch: Branch, outcome: Outcome) -> Settlement:
        child = self._child
        if type(outcome) is Succeeded:
            go_on = self._may_go_on(branch)
            return verdict.advance(
                branch, outcome.output, child.default_queue, child.costs, self._room, go_on
            )
        return verdict.settlement(
            branch,
            verdict.judge(branch, outcome, child.put_off_limit),
            default_queue=child.default_queue,
            costs=child.costs,
            room=self._room,
            go_on=False,
        )

    def _may_go_on(self, branch: Branch) -> bool:
        claimed, child = branch.claimed, self._child
        may = self._goes_on.get(claimed.pipeline)
        if may is None:
            may = not (child.must_yield() or child.link.is_paused(claimed))
            self._goes_on[claimed.pipeline] = may
        return may and not child.link.paused.covers(claimed)

    def commit(self, older_than: float = -1.0) -> None:
        """Commit the outcomes so far, if the oldest has waited longer than that."""
        with self._guard:
            if not self._ended or monotonic() - self._oldest <= older_than:
                return
            ended, self._ended = self._ended, []
            self._settle(self._judged(ended))
            self._child.slot.owes = False

    def _settle(self, pending: list[Pending]) -> None:
        try:
            accepted = self._child.settle([settlement for _, settlement, _ in pending])
        except psycopg.Error as error:
            self._settle_apart(pending, error)
            return
        if len(accepted) < len(pending):
            lost = [branch for branch, one, _ in pending if one.work_id not in accepted]
            if ready := give_up(self._child, lost):
                self._ring(ready)
        self._go_on(pending, accepted)

    def _go_on(self, pending: list[Pending], accepted: set[int]) -> None:
        left: list[Settlement] = []
        for branch, settlement, outcome in pending:
            if settlement.work_id not in accepted:
                continue
            then = settlement.then
            if type(then) is Keep and type(outcome) is Succeeded:
                branch.advance(outcome, then.step)
                self._going_on.append(branch)
            else:
                left.append(settlement)
        self._child.tally.count(pending, accepted)
        self._child.tally.tell(self._child.look, self._child.link.paused.now.failing)
        self._follow_up(left)

    def _follow_up(self, committed: Sequence[Settlement]) -> None:
        # What is kept concerns nobody else.
        left = [one for one in committed if type(one.then) is not Keep]
        if failed := [one.run_id for one in left if fails(one)]:
            self._child.end_children(failed)
        rung = standing.made_ready(left)
        for queue, many in self._child.woken_elsewhere().items():
            rung[queue] = rung.get(queue, 0) + many
        if rung:
            self._ring(rung)

    def _settle_apart(self, pending: list[Pending], error: psycopg.Error) -> None:
        # One value that the database refuses must not keep its neighbours from being stored.
        if len(pending) > 1:
            for one in pending:
                self._settle([one])
            return
        branch, settlement, outcome = pending[0]
        if not isinstance(outcome, Succeeded):
            logger.error("run %s: its failure cannot be stored: %s", settlement.run_id, error)
            why = f"its failure cannot be stored: {Failure.of(error).message}"
            queue = branch.step.queue or self._child.default_queue
            self._child.settle([standing.parked(branch.claimed, queue, why)])
            return
        failed = Failed(Failure("OutputNotStorable", f"the database refused it: {error}", ""))
        self._settle([(branch, self._judge(branch, failed), failed)])

    def _release(self, rest: list[Branch]) -> None:
        # Whoever asked for them may have taken them back already; then nothing matches.
        self._child.slot.revoke = False
        if rest:
            queue = self._child.default_queue
            self._child.settle([verdict.released(branch, queue) for branch in rest])
