"""Seat: a place for one body in a process that executes many; a holder without a connection."""

from taskplatform.executor.child import Child
from taskplatform.executor.lent_transaction import Lender, LentTransaction


class Seat(Child):
    """One holder with its slot; it asks on the connection of another child, one at a time."""

    def __init__(self, desk: Child, lender: Lender) -> None:
        super().__init__(
            url=desk.url,
            worker=desk.worker,
            worker_name=desk.worker_name,
            table=desk.table,
            default_queue=desk.default_queue,
            put_off_limit=desk.put_off_limit,
            ageing=desk.ageing,
            instrument=desk.instrument,
        )
        self.link = desk.link
        self.costs = desk.costs
        self.lanes = desk.lanes
        self.own_transaction = LentTransaction(lender)
        # The alarm is one for the process; it could not tell the bodies apart.
        self.time_limit.available = False

    def close(self) -> None:
        """Give up the slot; the connection is the desk's."""
        self.own_transaction.discard()
        self.slot.reset(0)
