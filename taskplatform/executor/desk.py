"""Desk: what the seats of one process share: connections, claims, expectations of cost."""

import os
import threading
from collections.abc import Sequence
from functools import partial
from itertools import islice
from time import monotonic_ns
from typing import Any

from taskplatform.errors import Unavailable
from taskplatform.executor.child import SAFETY, Child
from taskplatform.executor.costs import BUDGET
from taskplatform.executor.lent_transaction import Lender
from taskplatform.executor.seat import Seat
from taskplatform.executor.slot import IDLE, SHIFT
from taskplatform.storage import leases
from taskplatform.storage.claim import Claimed
from taskplatform.storage.claim_each import Taken, claim_each, held_by_each

# So many keep their leases when there is nothing to do.
_KEPT = 8

Seated = tuple[Seat, Claimed]


class Desk(Child):
    """A process's connection for questions, another one for commits, and its seats."""

    def __init__(self, seats: int, **given: Any) -> None:
        """`seats` is how many bodies may be executed at once; the rest is that of a Child."""
        super().__init__(**given)
        self.committing = Child(**given)
        self.committing.costs, self.committing.lanes = self.costs, self.lanes
        self.lender = Lender(self.url, f"taskplatform {self.worker_name} body")
        self.most = seats
        # In the order in which they were given back.
        self._free: dict[Seat, None] = {}
        self._made = 0
        self._taken = 0
        self._doubtful: dict[int, Seat] = {}
        self.changed = threading.Condition()

    def seat(self) -> Seat:
        """Make one more seat, for somebody who executes by himself."""
        return Seat(self, self.lender)

    @property
    def taken(self) -> int:
        """How many seats are taken."""
        return self._taken

    def claim_for(self, many: int, queues: Sequence[str]) -> tuple[list[Seated], bool]:
        """Take a branch for up to so many free seats; also tell whether more is ready.

        Raises Unavailable when the database cannot be reached.
        """
        self.served = self.committing.served = frozenset(queues)
        seats = self._look_out(self.link.pace.claiming(many))
        with self.lock:
            try:
                found, more = self._asking(lambda: self._claim(seats, queues))
            except Unavailable:
                self._doubt(seats)
                raise
        self.last_epoch = max([self.last_epoch, *(one.epoch for _, one in found)])
        return self._take(found), more

    def free(self, seats: Sequence[Seat]) -> None:
        """Give seats back."""
        for seat in seats:
            seat.slot.take_in_hand()
            seat.slot.batch, seat.slot.state = 0, IDLE
            seat.own_transaction.discard()
        with self.changed:
            self._free |= dict.fromkeys(seats)
            self._taken -= len(seats)
            self.changed.notify_all()

    def rest(self) -> None:
        """Give up the leases of most seats: nobody has to renew them while there is no work."""
        with self.changed:
            idle = [seat.slot for seat in list(self._free)[:-_KEPT] if seat.slot.holder]
        holders = [slot.holder for slot in idle]
        for slot in idle:
            slot.holder = slot.lease_until_ns = 0
        if holders:
            self.look(lambda connection: leases.forget(connection, *holders))

    def close(self) -> None:
        """Give up the seats and the connections."""
        for seat in self._free:
            seat.close()
        self.lender.close()
        self.committing.close()
        super().close()

    def _look_out(self, many: int) -> list[Seat]:
        with self.changed:
            while len(self._free) < many and self._made < self.most:
                self._free[self.seat()] = None
                self._made += 1
            # Who was taken last has a lease; the others may never need one.
            return list(islice(reversed(self._free), many))

    def _claim(
        self, seats: list[Seat], queues: Sequence[str]
    ) -> tuple[list[tuple[Seat, Claimed]], bool]:
        needs = self._needs.of_maps()
        if self._doubtful:
            doubtful = self._believed()
            holders = list(doubtful)
            again = held_by_each(self.connection, holders, after=self.last_epoch, needs=needs)
            self._doubtful.clear()
            if again:
                return _seated(again, doubtful), True
        by_holder = self._with_leases(seats)
        take = partial(
            claim_each,
            holders=list(by_holder),
            after=self.last_epoch,
            budget=BUDGET,
            needs=needs,
        )
        pipelines = self._claimable()
        taken, more = self.lanes.claim(take, self.connection, queues, pipelines, len(seats))
        return _seated(taken, by_holder), more

    def _with_leases(self, seats: list[Seat]) -> dict[int, Seat]:
        without = [seat.slot for seat in seats if not (seat.slot.holder and seat.slot.lease_holds)]
        if without:
            until = monotonic_ns() + int((leases.LEASE_SECONDS - SAFETY) * 1e9)
            made = leases.register_many(
                self.connection, len(without), worker=self.worker, pid=os.getpid()
            )
            for slot, holder in zip(without, made, strict=True):
                slot.holder, slot.lease_until_ns = holder, until
        return {seat.slot.holder: seat for seat in seats}

    def _doubt(self, seats: Sequence[Seat]) -> None:
        # They may have taken work that nobody here knows of: their leases are not to be renewed,
        # and the next claim, if it comes in time, finds that work.
        for seat in seats:
            if seat.slot.holder:
                self._doubtful[seat.slot.holder] = seat
        for seat in self._doubtful.values():
            seat.slot.holder = 0

    def _believed(self) -> dict[int, Seat]:
        found = {
            holder: seat
            for holder, seat in self._doubtful.items()
            if seat.slot.lease_holds and not seat.slot.holder
        }
        for holder, seat in found.items():
            seat.slot.holder = holder
        return found

    def _take(self, found: Sequence[Seated]) -> list[Seated]:
        with self.changed:
            for seat, one in found:
                del self._free[seat]
                slot = seat.slot
                slot.revoke = False
                slot.wait(one.work_id)
                slot.claimed += 1
                slot.batch, slot.state = 1, SHIFT
            self._taken += len(found)
        return list(found)


def _seated(taken: Sequence[Taken], seats: dict[int, Seat]) -> list[Seated]:
    return [(seats[holder], one) for holder, one in taken]
