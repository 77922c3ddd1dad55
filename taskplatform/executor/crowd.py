"""Crowd: the branches that the seats of one process hold, each at a step of its own.

One thread opens what was claimed, starts the bodies and commits whatever has ended, in one
transaction and without waiting for more: what ends during one commit is in the next. A branch goes
on to its following step when its own output is durable, on its seat; if it does not, the seat is
free. Bodies that block have a thread each, async ones are on the loop.
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
from taskplatform.executor.batch import Batch, Pending, Ring
from taskplatform.executor.branch import Branch
from taskplatform.executor.desk import Desk, Seated
from taskplatform.executor.hands import Hands
from taskplatform.executor.loop import running_loop
from taskplatform.executor.rests import rests
from taskplatform.executor.seat import Seat
from taskplatform.storage.settlement import Settlement

logger = logging.getLogger(__name__)

# How often it is looked for async bodies that a blocked loop keeps from ending.
LOOK = 0.5
# After the grace of a shutdown and what bodies have to clean up, nobody waits for them any more.
_LAST = 3.0


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


Item = Ended | list[Seated] | None


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
        self._items: SimpleQueue[Item] = SimpleQueue()
        self._seats: dict[int, Seat] = {}
        self._async: dict[int, AsyncAttempt] = {}
        self._next_look = 0.0
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
        """Execute what was claimed for these seats."""
        self._items.put(claimed)

    def _is_over(self) -> bool:
        table = self._desk.table
        ends = table.grace_ends_ns
        return table.cold or (ends != 0 and monotonic_ns() > ends + _LAST * 1e9)

    def _work(self) -> None:
        while True:
            claimed, ended, over = self._collect()
            # Starting is quick, a commit is not.
            for many in claimed:
                self._guarded([seat for seat, _ in many], partial(self._start_all, many))
            if ended:
                self._guarded([one.seat for one in ended], partial(self._commit_all, ended))
            self._leave_behind()
            if over:
                return

    def _collect(self) -> tuple[list[list[Seated]], list[Ended], bool]:
        claimed: list[list[Seated]] = []
        ended: list[Ended] = []
        try:
            item = self._items.get(timeout=LOOK)
            while item is not None:
                if isinstance(item, Ended):
                    ended.append(item)
                else:
                    claimed.append(item)
                item = self._items.get_nowait()
        except Empty:
            return claimed, ended, False
        return claimed, ended, True

    def _guarded(self, seats: Sequence[Seat], act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException:
            logger.exception("giving up what %d seat(s) hold", len(seats))
            for work_id, seat in list(self._seats.items()):
                if seat in seats:
                    self._give_up(work_id)

    def _give_up(self, work_id: int) -> None:
        # While the process lives, nobody else would ever be given what this seat holds.
        self._seats[work_id].forsake()
        self._leave(work_id)

    def _leave(self, work_id: int) -> None:
        self._desk.free(self._seats.pop(work_id))

    def _start_all(self, claimed: list[Seated]) -> None:
        seats = {one.work_id: seat for seat, one in claimed}
        self._seats |= seats
        try:
            branches = self._open([one for _, one in claimed])
        except psycopg.Error as error:
            if len(claimed) == 1:
                raise
            # One row that the database refuses must not take its neighbours along.
            logger.warning("opening what was claimed one by one: %s", error)
            for one in claimed:
                self._guarded([one[0]], partial(self._start_all, [one]))
            return
        self._start(branches)
        for work_id in seats.keys() - {branch.claimed.work_id for branch in branches}:
            self._leave(work_id)

    def _start(self, branches: Sequence[Branch]) -> None:
        now = monotonic_ns()
        attempts: list[AsyncAttempt] = []
        for branch in branches:
            work_id = branch.claimed.work_id
            seat = self._seats[work_id]
            seat.slot.waits_since_ns = now
            if seat.must_stop():
                self._items.put(Ended(seat, branch, None))
            elif _needs_no_thread(branch):
                attempt = AsyncAttempt(seat, branch, partial(self._finish, seat, branch))
                self._async[work_id] = attempt
                attempts.append(attempt)
            else:
                job = partial(self._execute_blocking, seat, branch)
                self._hands.do(partial(contextvars.Context().run, job))
        if attempts:
            running_loop().call_soon_threadsafe(_start_each, attempts)

    def _execute_blocking(self, seat: Seat, branch: Branch) -> None:
        seat.slot.waits_since_ns = 0
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
        seat = self._seats[branch.claimed.work_id]
        return not (seat.must_stop() or self._desk.table.messages_wait)

    def _commit_all(self, ended: list[Ended]) -> None:
        pending: list[Pending] = []
        self._going_on = []
        for one in ended:
            branch, made = one.branch, one.made
            self._async.pop(branch.claimed.work_id, None)
            match made:
                case None:
                    released = verdict.released(branch, self._desk.default_queue)
                    pending.append((branch, released, None))
                case Settlement():
                    pending.append((branch, made, None))
                case Lost(error):
                    if error is not None:
                        logger.error("an attempt has no outcome", exc_info=error)
                        one.seat.forsake()
                case tuple():
                    self._go_on([made], {made[1].work_id})
                case _:
                    pending.append((branch, self._judge(branch, made), made))
        if pending:
            self._settle(pending)
        on = {branch.claimed.work_id for branch in self._going_on}
        self._start(self._going_on)
        for one in ended:
            if one.branch.claimed.work_id not in on:
                self._leave(one.branch.claimed.work_id)

    def _leave_behind(self) -> None:
        if self._async and monotonic() > self._next_look:
            self._next_look = monotonic() + LOOK
            for attempt in list(self._async.values()):
                attempt.leave_if_overdue()


def _needs_no_thread(branch: Branch) -> bool:
    step = branch.step
    return (
        step.is_async and step.kind is not Kind.CHILD and not step.throttles and not rests(branch)
    )


def _start_each(attempts: Sequence[AsyncAttempt]) -> None:
    for attempt in attempts:
        attempt.start()
