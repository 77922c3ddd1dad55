"""A pool child by hand: claims, executes and commits when it is told, or too late, or never."""

from collections.abc import Callable, Sequence
from itertools import cycle
from uuid import UUID

from taskplatform.client.pipeline import Pipeline
from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.executor.ending import fails
from taskplatform.executor.slots import SlotTable
from taskplatform.storage import events
from taskplatform.storage.claim import Claimed, claim
from taskplatform.storage.connection import Session
from taskplatform.storage.orphans import cancel_children
from taskplatform.storage.settle import committed, settle
from taskplatform.storage.settlement import Keep, Settlement
from tests.integration.races.shaped import Asked, fates
from tests.integration.races.stage import Stage

QUEUE = "q"
_FOR_EVER_NS = 2**62


class Hand(Child):
    """What is to be committed is kept in `offered` until somebody calls `commit`."""

    def __init__(self, stage: Stage, table: SlotTable) -> None:
        super().__init__(
            url=stage.url,
            worker=uuid7(),
            worker_name="hand",
            table=table,
            default_queue=QUEUE,
            put_off_limit=60.0,
        )
        self._stage = stage
        self._stops = self._yields = False
        # All hands share a session: what they do takes turns anyhow.
        self.link._connection = stage.connection
        self.start_anew()

    def start_anew(self) -> None:
        """Be another process."""
        self.holder = self.slot.holder = self._stage.holder()
        self.slot.lease_until_ns = _FOR_EVER_NS
        self.claimed: list[Claimed] = []
        self.offered: list[Settlement] = []

    def must_stop(self) -> bool:
        return self._stops

    def must_yield(self) -> bool:
        return self._yields

    def settle(self, settlements: Sequence[Settlement]) -> set[int]:
        self.offered += settlements
        return set()

    def take(self, limit: int, known: bool) -> list[Claimed]:
        """Claim; if the costs are `known`, several rows at once."""
        names = registry.names()
        steps = [step for name in names for step in registry.get(name).steps]
        self.claimed, _ = claim(
            self._stage.connection,
            holder=self.holder,
            after=self._stage.last_epoch(),
            queues=[QUEUE],
            pipelines=names,
            limit=limit,
            costs={step.task_name: 0.0 for step in steps} if known else {},
            budget=1.0,
            needs=self._needs.of_maps(),
        )
        return self.claimed

    def execute(self, how: Sequence[str], *, yields: bool = False, stops: bool = False) -> None:
        """Execute what is claimed; the bodies end in these ways, in turn."""
        fates.next = cycle(how)
        self._stops, self._yields = stops, yields
        claimed, self.claimed = self.claimed, []
        Batch(self, lambda _: None).execute(claimed)
        self._owned = {one.work_id: one for one in claimed}

    def commit(
        self, *, twice: bool = False, by: Callable[[list[Settlement]], set[int]] | None = None
    ) -> set[int]:
        """Commit what was offered; `twice`: the first answer is lost. What was accepted."""
        offered, self.offered = self.offered, []
        accepted = by(offered) if by else commit(self._stage, offered, twice=twice)
        for one in offered:
            if isinstance(one.then, Keep) and one.work_id in accepted:
                self.claimed.append(_kept(self._owned[one.work_id], one))
        return accepted


def commit(stage: Stage, offered: Sequence[Settlement], *, twice: bool = False) -> set[int]:
    """Settle as a child does, with what it does afterwards."""
    if not offered:
        return set()
    accepted = settle(stage.connection, offered, worker="hand")
    if twice:
        known = committed(stage.connection, offered)
        assert known <= accepted
        rest = [one for one in offered if one.work_id not in known]
        again = settle(stage.connection, rest, worker="hand") if rest else set()
        assert all(isinstance(one.then, Keep) for one in rest if one.work_id in again)
    if failed := [one.run_id for one in offered if fails(one) and one.work_id in accepted]:
        cancel_children(stage.connection, failed)
    return accepted


def _kept(claimed: Claimed, one: Settlement) -> Claimed:
    assert isinstance(one.then, Keep)
    if one.result is not None:
        claimed.outputs[one.result.step] = one.result.output
        claimed.versions[one.result.step] = one.result.version
    claimed.step = one.then.step
    claimed.failures, claimed.put_off, claimed.rest = 0, 0.0, None
    return claimed


def start(stage: Stage, pipeline: Pipeline[Asked], **input: object) -> UUID:
    pipeline.finalize()
    (run,) = stage.runs(
        pipeline=pipeline.name,
        first_step=pipeline.steps[0].name,
        queue=pipeline.steps[0].queue or QUEUE,
        input=Asked.model_validate(input).model_dump_json().encode(),
    )
    return run


def shift(hand: Hand, *how: str, limit: int = 10) -> None:
    """Claim, execute and commit once."""
    hand.take(limit, True)
    hand.execute(how or ["ok"])
    hand.commit()


def drain(hand: Hand) -> None:
    while hand.take(50, True):
        while hand.claimed:
            hand.execute(["ok"])
            hand.commit()


def send(session: Session, name: str) -> None:
    """An event without a word in it."""
    events.send(session, id=uuid7(), name=name, data=b"{}", values=[])
