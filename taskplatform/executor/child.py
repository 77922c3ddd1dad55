"""Child: what one pool child (or thread) keeps from shift to shift."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from taskplatform.errors import Unavailable
from taskplatform.executor.costs import BUDGET, Costs
from taskplatform.executor.impatience import Impatience
from taskplatform.executor.instruments import Instrument, Silent
from taskplatform.executor.lanes import Lanes
from taskplatform.executor.link import Link
from taskplatform.executor.needs import Needs
from taskplatform.executor.own_transaction import OwnTransaction
from taskplatform.executor.reports import Reporter
from taskplatform.executor.slot import Slot
from taskplatform.executor.slots import SlotTable
from taskplatform.executor.tally import Tally
from taskplatform.executor.time_limit import TimeLimit
from taskplatform.storage import leases
from taskplatform.storage.backoff import Backoff
from taskplatform.storage.body_connection import CommitInDoubt, was_committed
from taskplatform.storage.claim import Claimed, claim, claim_canary, claim_run
from taskplatform.storage.connection import AWAY, Session, first_line
from taskplatform.storage.new_run import AGEING
from taskplatform.storage.orphans import cancel_children
from taskplatform.storage.settle import committed, settle
from taskplatform.storage.settlement import Settlement

logger = logging.getLogger(__name__)
T = TypeVar("T")

# A child starts nothing this close to the end of its lease.
SAFETY = 3.0
_FIRST_PAUSE = 0.02
_AWAY = (*AWAY, Unavailable)


class Child:
    """One holder: its slot, its connection, its expectations of cost."""

    def __init__(
        self,
        *,
        url: str,
        worker: UUID,
        worker_name: str,
        table: SlotTable,
        default_queue: str,
        put_off_limit: float,
        ageing: float = AGEING,
        instrument: Instrument | None = None,
        parent: int | None = None,
    ) -> None:
        """`parent` is the process without which this one has no business; None: it has its own."""
        self.url = url
        self.worker = worker
        self.worker_name = worker_name
        self.table = table
        self.slot: Slot = table.allocate()
        self.default_queue = default_queue
        self.put_off_limit = put_off_limit
        self.ageing = ageing
        self.instrument: Instrument = instrument or Silent()
        self.costs = Costs()
        self.lanes = Lanes(self.costs, ageing)
        self.tally = Tally()
        self.impatience = Impatience()
        self.time_limit = TimeLimit(lambda: self.slot.interrupt)
        self.reporter: Reporter | None = None
        self.own_transaction = OwnTransaction(url, f"taskplatform {worker_name} body")
        self.link = Link(url, f"taskplatform {worker_name}")
        self.backoff = Backoff(_FIRST_PAUSE)
        self.leaving = False
        self._parent = parent
        self.last_epoch = self._doubtful_holder = 0
        self._needs = Needs()
        self.served: frozenset[str] = frozenset()
        self._woken: Counter[str] = Counter()

    @property
    def connection(self) -> Session:
        """The child's own connection. Raises Unavailable."""
        return self.link.connection

    @property
    def lock(self) -> threading.RLock:
        """Held by whoever uses the connection."""
        return self.link.lock

    def must_end(self) -> bool:
        """The child may not go on: a shutdown, or its worker is gone."""
        return (
            self.leaving
            or self.table.shutting_down
            or self.slot.interrupt
            or (self._parent is not None and os.getppid() != self._parent)
        )

    def must_stop(self) -> bool:
        """No body of what is held may start: also when the lease is in doubt."""
        return self.slot.must_stop or self.leaving or self.table.shutting_down

    def must_yield(self) -> bool:
        """The shift should end at the next step boundary; `must_stop` is asked there."""
        return self.leaving or self.table.disturbed or self.slot.interrupt

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction on the child's connection, which nobody else uses meanwhile."""
        with self.lock, self.connection.transaction():
            yield self.connection

    def claim(self, queues: Sequence[str]) -> tuple[list[Claimed], bool]:
        """Take what fits; also tell whether more is ready.

        Raises Unavailable when the database cannot be reached.
        """
        self.served = frozenset(queues)
        with self.lock:
            return self._asking(lambda: self._claim_next(queues))

    def _claim_next(self, queues: Sequence[str]) -> tuple[list[Claimed], bool]:
        paused = self.link.paused
        others, pipelines = paused.open(self.connection, queues)
        who: dict[str, Any] = {
            "holder": self._holder(),
            "after": self.last_epoch,
            "needs": self._needs.of_maps(),
        }
        # Asked now: whoever has only just connected may have to be slow.
        limit = self.link.pace.claiming(self.costs.limit())
        if canary := paused.canary(partial(claim_canary, **who), self.connection, queues):
            return canary, True
        take = partial(claim, **who, limit=limit, budget=BUDGET)
        self.lanes.paused = paused.now.owners
        return self.lanes.claim(take, self.connection, others, pipelines, limit)

    def claim_run(self, run_id: UUID) -> list[Claimed]:
        """Take the work of one run."""
        with self.lock:
            return self._asking(
                lambda: claim_run(
                    self.connection,
                    holder=self._holder(),
                    after=self.last_epoch,
                    run_id=run_id,
                    needs=self._needs.of_maps(),
                )
            )

    def look(self, question: Callable[[Session], T]) -> T:
        """Ask the database something. Raises Unavailable."""
        with self.lock:
            return self._asking(lambda: question(self.connection))

    def ready(self, queues: Sequence[str]) -> bool:
        """Tell whether there is anything to claim; False also when nobody can tell."""
        self.tally.tell(self.look, self.link.paused.now.failing)
        try:
            with self.lock:
                return self._asking(lambda: self.link.paused.any_ready(self.connection, queues))
        except Unavailable:
            return False

    def remember(self, claimed: Sequence[Claimed]) -> None:
        """Note the highest epoch that was given, so that the next claim reads only its own."""
        self.last_epoch = max([self.last_epoch, *(one.epoch for one in claimed)])
        self.slot.claimed += len(claimed)

    def settle(self, settlements: Sequence[Settlement]) -> set[int]:
        """Commit, for as long as it takes; return the ids of the work that was accepted.

        While the database is away the results are held here and offered again: the fence decides
        whether they still count. Raises another psycopg.Error for what it refuses to store.
        """
        accepted: set[int] = set()
        rest, asked_before, backoff = settlements, False, Backoff(_FIRST_PAUSE)
        while True:
            try:
                with self.lock:
                    if asked_before:
                        # The answer to a COMMIT can be lost: what it ended looks refused now.
                        accepted |= committed(self.connection, settlements)
                        rest = [one for one in settlements if one.work_id not in accepted]
                    accepted |= settle(
                        self.connection,
                        rest,
                        worker=self.worker_name,
                        woken=self._woken,
                        again=asked_before,
                    )
                self._count_refused(settlements, accepted)
                return accepted
            except psycopg.errors.UniqueViolation:
                if asked_before:
                    raise
                # An earlier try was committed, after it was asked whether it is.
                asked_before, pause = True, backoff.next()
            except _AWAY as error:
                asked_before, pause = True, backoff.next()
                logger.warning("commit failed, again in %.2g s: %s", pause, first_line(error))
                self.link.drop_if_broken(error)
                if self._give_up():
                    return accepted
            time.sleep(pause)

    def woken_elsewhere(self) -> dict[str, int]:
        """What was made ready since this was last asked, on queues that are not served here."""
        woken, self._woken = self._woken, Counter()
        return {queue: many for queue, many in woken.items() if queue not in self.served}

    def end_children(self, runs: Sequence[UUID]) -> None:
        """Cancel what runs that fail have started, if the database can be reached."""
        with suppress(Unavailable), self.lock:
            self._asking(lambda: cancel_children(self.connection, runs))

    def settle_with_body(self, settlement: Settlement) -> bool | None:
        """Commit a transactional body's own SQL with its result; False if that was refused.

        None: the connection broke and nothing was committed. Raises psycopg.Error for what the
        database refuses to store; then nothing was committed either.
        """
        try:
            stored = self.own_transaction.settle(settlement, worker=self.worker_name)
        except CommitInDoubt:
            return True if self._was_committed(settlement) else None
        if not stored:
            self._count_refused([settlement], set())
        return stored

    def _was_committed(self, settlement: Settlement) -> bool:
        for pause in iter(Backoff(_FIRST_PAUSE).next, None):
            try:
                with self.lock:
                    return was_committed(self.connection, settlement)
            except _AWAY as error:
                logger.warning("is it committed? again in %.2g s: %s", pause, first_line(error))
                self.link.drop_if_broken(error)
                if self._give_up():
                    return False
            time.sleep(pause)
        raise AssertionError("pauses never end")

    def _give_up(self) -> bool:
        return self.table.cold or 0 < self.table.grace_ends_ns < time.monotonic_ns()

    def _count_refused(self, settlements: Sequence[Settlement], accepted: set[int]) -> None:
        if len(accepted) == len(settlements):
            return
        refused = [one for one in settlements if one.work_id not in accepted]
        late = sum(1 for one in refused if one.result or one.attempt)
        if late:
            self.slot.refused += late
            logger.warning("%d late result(s) refused: the work was taken over or ended", late)

    def _holder(self) -> int:
        slot = self.slot
        if slot.holder == 0 and slot.lease_holds:
            slot.holder = self._doubtful_holder
        if slot.holder == 0 or not slot.lease_holds:
            began = time.monotonic_ns()
            slot.holder = leases.register(self.connection, worker=self.worker, pid=os.getpid())
            slot.lease_until_ns = began + int((leases.LEASE_SECONDS - SAFETY) * 1e9)
            self.last_epoch = 0
        return slot.holder

    def _asking(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except psycopg.Error as error:
            if self.link.drop_if_broken(error) and self.slot.holder:
                # It may have taken work that nobody here knows of: its lease is not to be renewed,
                # and the next claim, if it comes in time, finds that work.
                self._doubtful_holder, self.slot.holder = self.slot.holder, 0
            raise Unavailable(f"database unavailable: {first_line(error)}") from error

    def forsake(self) -> None:
        """Give up what is held without a word, for others to rescue."""
        slot = self.slot
        holder, slot.holder, slot.lease_until_ns, slot.batch = slot.holder, 0, 0, 0
        slot.end()
        # Without its lease row the work is found within a second; with it, when the lease is over.
        with suppress(psycopg.Error, Unavailable), self.lock:
            leases.forget(self.connection, holder)

    def close(self) -> None:
        """Give up the slot and the connections."""
        self.own_transaction.discard()
        self.link.close()
        self.slot.reset(0)
