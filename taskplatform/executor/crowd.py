"""Crowd: the branches that the seats of one process hold, each at a step of its own.

Whoever claims opens the branches and starts the bodies. One thread commits whatever has ended, in
one transaction and without waiting for more: what ends during one commit is in the next. A branch
goes on to its following step when its own output is durable, on its seat; the seat of one that
will not is free as soon as its commit begins. Bodies that block have a thread each, async ones are
on the loop.
"""

import contextvars
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic, monotonic_ns

import psycopg

from taskplatform.core.outcome import Outcome, Succeeded
from taskplatform.core.shapes import Kind
from taskplatform.executor import verdict
from taskplatform.executor.async_attempt import AsyncAttempt
from taskplatform.executor.batch import Batch, Ring
from taskplatform.executor.branch import Branch
from taskplatform.executor.company import Pending, judged
from taskplatform.executor.desk import Desk, Seated
from taskplatform.executor.hands import Hands
from taskplatform.executor.loop import running_loop
from taskplatform.executor.rests import rests
from taskplatform.executor.seat import Seat
from taskplatform.middleware import around
from taskplatform.storage.settlement import Keep, Settlement

logger = logging.getLogger(__name__)

# How often it is looked for async bodies that a blocked loop keeps from ending.
LOOK = 0.5
# So long after all bodies were told to end they have cleaned up, or never will; and so long after
# the grace of a shutdown nobody waits any more for the supervisor, which tells them.
_CLEANED_UP, _LAST = 2.0, 8.0


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing is to be committed: that was refused already, or something of ours failed."""

    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of an attempt on a seat; None: its body was not started."""

    seat: Seat
    branch: Branch
    made: Outcome | Settlement | Pending | Lost | None

    @property
    def epoch(self) -> int:
        """The epoch of the claim."""
        return self.branch.claimed.epoch


# None: no more will come.
Item = Ended | None


class _AllSeats(verdict.Room):
    """A branch that goes on stays on its seat."""

    def admit(self, cost: float | None) -> bool:  # noqa: ARG002
        return True


class Crowd(Batch):
    """What the seats of a desk hold, from the first claim until no seat is taken."""

    def __init__(self, desk: Desk, ring: Ring, hands: Hands) -> None:
        super().__init__(desk.committing, ring)
        self._desk = desk
        self._hands = hands
        self._room = _AllSeats()
        # In the thread that claims, with a connection of its own.
        self._opening = Batch(desk, ring)
        self._items: SimpleQueue[Item] = SimpleQueue()
        # By epoch: a body that nobody can end may go on while its work is claimed here once more.
        self._seats: dict[int, Seat] = {}
        self._async: dict[int, AsyncAttempt] = {}
        self._next_look = 0.0
        # When some body had not been told yet to end.
        self._told_ns = 0
        self._thread = threading.Thread(target=self._work, name="taskplatform-crowd", daemon=True)

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until every seat is free, or nobody may wait any longer."""
        desk = self._desk
        with desk.changed:
            while desk.taken and not self._is_over():
                desk.changed.wait(0.1)
        self._items.put(None)
        self._thread.join(None if not desk.taken else 1.0)

    def seat(self, claimed: list[Seated]) -> None:
        """Execute what was claimed for these seats; only one thread may call this."""
        held = [(seat, one.epoch) for seat, one in claimed]
        self._guarded(held, partial(self._start_all, claimed))

    def _is_over(self) -> bool:
        table, now = self._desk.table, monotonic_ns()
        ends = table.grace_ends_ns
        told = all(seat.slot.interrupt for seat in list(self._seats.values()))
        if not ends or now < ends or not told:
            self._told_ns = now
        if not ends:
            return table.cold
        return table.cold or now > min(self._told_ns + _CLEANED_UP * 1e9, ends + _LAST * 1e9)

    def _work(self) -> None:
        over = False
        while not over:
            ended, over = self._collect()
            if ended:
                held = [(one.seat, one.epoch) for one in ended]
                self._guarded(held, partial(self._commit_all, ended))
            self._leave_behind()
            self._child.tally.tell(self._child.look, self._child.link.paused.now.failing)

    def _collect(self) -> tuple[list[Ended], bool]:
        ended: list[Ended] = []
        try:
            item = self._items.get(timeout=LOOK)
            while item is not None:
                ended.append(item)
                item = self._items.get_nowait()
        except Empty:
            return ended, False
        return ended, True

    def _guarded(self, held: Sequence[tuple[Seat, int]], act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException:
            logger.exception("giving up what %d seat(s) hold", len(held))
            # While the process lives, nobody else would ever be given what these seats hold.
            for seat, epoch in held:
                seat.forsake()
                self._leave(epoch)

    def _leave(self, *epochs: int) -> None:
        self._desk.free([seat for one in epochs if (seat := self._seats.pop(one, None))])

    def _start_all(self, claimed: list[Seated]) -> None:
        seats = {one.epoch: seat for seat, one in claimed}
        self._seats |= seats
        try:
            branches = self._opening._open([one for _, one in claimed])
        except psycopg.Error as error:
            if len(claimed) == 1:
                raise
            # One row that the database refuses must not take its neighbours along.
            logger.warning("opening what was claimed one by one: %s", error)
            for seat, row in claimed:
                self._guarded([(seat, row.epoch)], partial(self._start_all, [(seat, row)]))
            return
        self._start(branches)
        self._desk.lanes.refund(one for _, one in claimed if one.epoch not in _epochs(branches))
        self._leave(*seats.keys() - _epochs(branches))

    def _start(self, branches: Sequence[Branch]) -> None:
        attempts: list[AsyncAttempt] = []
        for branch in branches:
            seat = self._seats[branch.claimed.epoch]
            seat.slot.wait(branch.claimed.work_id)
            if seat.must_stop():
                self._items.put(Ended(seat, branch, None))
            elif _needs_no_thread(branch):
                attempt = AsyncAttempt(seat, branch, partial(self._finish, seat, branch))
                self._async[branch.claimed.epoch] = attempt
                attempts.append(attempt)
            else:
                job = partial(self._execute_blocking, seat, branch)
                self._hands.do(partial(contextvars.Context().run, job))
        if attempts:
            running_loop().call_soon_threadsafe(_start_each, attempts)

    def _execute_blocking(self, seat: Seat, branch: Branch) -> None:
        seat.slot.take_in_hand()
        self._finish(seat, branch, lambda: self._outcome(seat, branch))

    def _finish(
        self, seat: Seat, branch: Branch, attempt: Callable[[], Outcome | Settlement]
    ) -> None:
        made: Outcome | Settlement | Pending | Lost | None
        try:
            made = self._attempted(branch, attempt)
            if branch.step.transactional and isinstance(made, Succeeded):
                made = self._store(seat, branch, made) or Lost()
        except BaseException as error:
            made = Lost(error)
        self._items.put(Ended(seat, branch, made))

    def _may_go_on(self, branch: Branch) -> bool:
        seat = self._seats.get(branch.claimed.epoch)
        if seat is None or seat.must_yield():
            return False
        return not self._child.link.is_paused(branch.claimed)

    def _commit_all(self, ended: list[Ended]) -> None:
        pending: list[Pending] = []
        self._going_on = []
        for one in ended:
            branch, made = one.branch, one.made
            self._desk.lanes.refund([branch.claimed])
            self._async.pop(one.epoch, None)
            match made:
                case None:
                    released = verdict.released(branch, self._desk.default_queue)
                    pending.append((branch, released, None))
                case Lost(error):
                    if error is not None:
                        logger.error("an attempt has no outcome", exc_info=error)
                        one.seat.forsake()
                case tuple():
                    self._go_on([made], {made[1].work_id})
                case _:
                    pending += judged(self._judge, branch, made)
        keep = {one.epoch for _, one, _ in pending if isinstance(one.then, Keep)}
        keep |= _epochs(self._going_on)
        self._leave(*(one.epoch for one in ended if one.epoch not in keep))
        for group in _apart(pending):
            self._settle(group)
        self._start(self._going_on)
        self._leave(*keep - _epochs(self._going_on))

    def _leave_behind(self) -> None:
        if self._async and monotonic() > self._next_look:
            self._next_look = monotonic() + LOOK
            for attempt in list(self._async.values()):
                attempt.leave_if_overdue()


def _needs_no_thread(branch: Branch) -> bool:
    step = branch.step
    if not step.is_async or step.kind is Kind.CHILD or step.batch is not None:
        return False
    # A middleware that blocks would block the loop.
    return not around(step) and not rests(branch)


def _epochs(branches: Sequence[Branch]) -> set[int]:
    return {branch.claimed.epoch for branch in branches}


def _apart(pending: Sequence[Pending]) -> list[list[Pending]]:
    """Groups without a work twice: what is accepted is told by it, and only one claim counts."""
    groups: list[dict[int, Pending]] = []
    for one in pending:
        work_id = one[1].work_id
        free = next((group for group in groups if work_id not in group), None)
        if free is None:
            groups.append(free := {})
        free[work_id] = one
    return [list(group.values()) for group in groups]


def _start_each(attempts: Sequence[AsyncAttempt]) -> None:
    for attempt in attempts:
        attempt.start()
