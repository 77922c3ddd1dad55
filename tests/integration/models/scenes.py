"""States of a run, and all the transitions that may meet in each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from taskplatform.storage import canvases, clock, events, leases, pauses
from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed, claim, claim_run
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.orphans import cancel_children
from taskplatform.storage.progress import Told, write
from taskplatform.storage.prune import prune
from taskplatform.storage.replay import replay
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.running import mark
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import (
    Attempt,
    End,
    ForkGroup,
    ForkMap,
    Join,
    NewChild,
    NewWait,
    PutBack,
    Settlement,
)
from taskplatform.storage.unstarted import take_overdue
from taskplatform.supervisor.rescue import Loss, Rescuer, lost_holders
from tests.integration.races.stage import (
    FREE,
    Stage,
    fail,
    give_back,
    keep,
    pass_on,
    result,
    succeed,
    wait,
)

RUN, OTHER, CHILD, EVENT = (UUID(int=(7 << 76) + number) for number in range(1, 5))
RESCUER = Rescuer("rescuer", "q", 60.0)
FOR_EVER = float("inf")


@dataclass
class Facts:
    """What is there when the two begin; `new` is a holder without work."""

    claims: list[Claimed]
    new: int
    after: int


Do = Callable[[Session, Facts], Any]


@dataclass(frozen=True)
class Scene:
    """A state, and by name what may happen in it; duties come round again by themselves."""

    set: Callable[[Stage], Facts]
    acts: Mapping[str, Do]
    duties: Mapping[str, Do]

    def do(self, name: str) -> Do:
        return self.acts[name] if name in self.acts else self.duties[name]


def new_run(id: UUID, **options: Any) -> NewRun:
    given = {"pipeline": "p", "first_step": "a", "queue": "q", "input": b"{}", **options}
    return NewRun(id=id, **given)


def _facts(stage: Stage, claims: list[Claimed]) -> Facts:
    return Facts(claims, stage.holder(), stage.last_epoch())


def _settling(how: Callable[[Claimed], Settlement], place: int = 0) -> Do:
    return lambda session, facts: len(settle(session, [how(facts.claims[place])], worker="w"))


def _resting(one: Claimed, rest: str, reason: str, **made: Any) -> Settlement:
    then = PutBack("a", "q", delay=FOR_EVER, reason=reason, waiting_for="them", rest=rest)
    return Settlement(one.work_id, one.epoch, one.run_id, then, **made)


def fork_group(one: Claimed) -> Settlement:
    return _resting(one, "branches", "children", fork=ForkGroup([("b", "q"), ("c", "q")]))


def fork_map(one: Claimed) -> Settlement:
    made = _resting(one, "branches", "children", fork=ForkMap("d", "q", 1, b"[1,2,3]", 2))
    assert isinstance(made.then, PutBack)
    return replace(made, then=replace(made.then, step="d"))


def register_wait(one: Claimed) -> Settlement:
    return _resting(one, "event", "event", wait=NewWait("a", "approved", "", "", None))


def start_child(one: Claimed) -> Settlement:
    child = NewChild(CHILD, "a", "p", "a", "q", b"{}", None, None, None, None)
    return _resting(one, "child", "children", child=child)


def joined(one: Claimed) -> Settlement:
    made = replace(result(one.step), position=one.position)
    return Settlement(one.work_id, one.epoch, one.run_id, Join(), made, branch=True)


def joined_badly(one: Claimed) -> Settlement:
    failed = Attempt(one.step, "failed", b'{"message":"no"}', started_ago=0.001)
    then = Join(run_error=b'{"type":"E"}')
    return Settlement(one.work_id, one.epoch, one.run_id, then, attempt=failed, branch=True)


def branch_waits(one: Claimed) -> Settlement:
    return replace(wait(one, 60), branch=True)


def child_ends(one: Claimed) -> Settlement:
    then = End("succeeded", one.step)
    made = Settlement(one.work_id, one.epoch, one.run_id, then, result=result(one.step))
    return replace(made, parent_run=RUN)


def marked(session: Session, facts: Facts) -> None:
    one = facts.claims[0]
    mark(session, work_id=one.work_id, epoch=one.epoch, started_ago=0.0)


def told(session: Session, facts: Facts) -> None:
    one = facts.claims[0]
    held = session.execute("SELECT holder FROM taskplatform.work WHERE id = %s", (one.work_id,))
    for (holder,) in held:
        write(session, [Told(one.work_id, one.epoch, holder or 0, 1.0, 2.0, 0.0)])


def swept(session: Session, _: Facts) -> None:
    for loss in lost_holders(session):
        RESCUER.rescue(session, loss)


def given_back(session: Session, facts: Facts) -> None:
    held = session.execute("SELECT holder FROM taskplatform.work WHERE holder IS NOT NULL")
    for holder in sorted({row[0] for row in held} - {facts.new}):
        RESCUER.rescue(session, Loss(holder, "interrupted", None, certain=True))


def claimed(session: Session, facts: Facts) -> None:
    claim(
        session,
        holder=facts.new,
        after=facts.after,
        queues=["q"],
        pipelines=["p"],
        limit=9,
        costs=FREE,
        budget=1.0,
    )


def claimed_run(session: Session, facts: Facts) -> None:
    """And marked, as the supervisor does with what could not be when it was claimed."""
    for one in claim_run(session, holder=facts.new, after=facts.after, run_id=RUN):
        mark(session, work_id=one.work_id, epoch=one.epoch, started_ago=0.0)


def overdue(session: Session, facts: Facts) -> None:
    taken = take_overdue(session, facts.new, ["p"])
    settle(session, [fail(one) for one in taken], worker="w")


def sent(session: Session, _: Facts) -> None:
    events.send(session, id=EVENT, name="approved", data=b"{}", values=[])


def published(session: Session, _: Facts) -> None:
    canvases.publish(session, "app", lambda _: None)


ALWAYS: dict[str, Do] = {
    "cancel": lambda session, _: cancel(session, RUN),
    "retry": lambda session, _: retry(session, RUN, lambda *_: Next("a", "q")).taken_up,
    "replay": lambda session, _: replay(session, new_run(OTHER, replay_of=RUN), []).created,
}


def paused(session: Session, _: Facts) -> bool:
    pauses.pause(session, "p", None)
    return pauses.set_aside(session, ["p"]) > 0


def resumed(session: Session, _: Facts) -> bool:
    pauses.resume(session, "p")
    return pauses.let_go(session, ["p"]).total() > 0


SEND: dict[str, Do] = {"send": sent}
CANVAS: dict[str, Do] = {
    "keep canvas": lambda session, _: canvases.keep(session, RUN, '{"app":"app"}')
}
DUTIES: dict[str, Do] = {
    "claim": claimed,
    "claim run": claimed_run,
    "release due": lambda session, _: release_due(session),
    "prune": lambda session, _: prune(session, 30),
    "pause": paused,
    "resume": resumed,
}
HELD: dict[str, Do] = {
    "advance": _settling(lambda one: keep(one, "b")),
    "go on marked": _settling(lambda one: keep(one, "b", mark=True)),
    "pass on": _settling(lambda one: pass_on(one, "b")),
    "fail for now": _settling(lambda one: wait(one, 60)),
    "fail and be due": _settling(lambda one: wait(one, 0.0)),
    "park": _settling(lambda one: wait(one, FOR_EVER, "parked")),
    "put back": _settling(give_back),
    "fail": _settling(fail),
    "finish": _settling(succeed),
    "fork group": _settling(fork_group),
    "fork map": _settling(fork_map),
    "register": _settling(register_wait),
    "start child": _settling(start_child),
    "renew": lambda session, facts: len(leases.renew(session, [facts.new])),
}


def _held(stage: Stage, **options: Any) -> Facts:
    enqueue(stage.connection, [new_run(RUN, **options)])
    return _facts(stage, stage.take())


def _lost(stage: Stage) -> Facts:
    facts = _held(stage)
    stage.connection.execute("UPDATE taskplatform.holders SET lease_until = '-infinity'")
    return replace(facts, new=stage.holder())


def _waiting(stage: Stage) -> Facts:
    facts = _held(stage)
    settle(stage.connection, [wait(facts.claims[0], 0.0)], worker="w")
    return facts


def _paused(stage: Stage) -> Facts:
    enqueue(stage.connection, [new_run(RUN)])
    paused(stage.connection, _facts(stage, []))
    return _facts(stage, [])


def _failed(stage: Stage) -> Facts:
    facts = _held(stage, key="k", request_id="r")
    settle(stage.connection, [fail(facts.claims[0])], worker="w")
    clock.advance(stage.connection, 31 * 86400.0)
    return facts


def _forked(stage: Stage, how: Callable[[Claimed], Settlement] = fork_group) -> Facts:
    (main,) = _held(stage).claims
    settle(stage.connection, [how(main)], worker="w")
    return _facts(stage, stage.take())


def _resting_on_event(stage: Stage) -> Facts:
    facts = _held(stage)
    settle(stage.connection, [register_wait(facts.claims[0])], worker="w")
    return facts


def _overdue(stage: Stage) -> Facts:
    enqueue(stage.connection, [new_run(RUN, queue_timeout=1.0)])
    clock.advance(stage.connection, 60.0)
    return _facts(stage, [])


def _joining(badly: Callable[[Claimed], Settlement]) -> dict[str, Do]:
    return {
        "join": _settling(joined),
        "join the other": _settling(joined, 1),
        "join badly": _settling(badly, 1),
        "branch waits": _settling(branch_waits),
    }


ASKED: dict[str, Do] = {
    "enqueue its key": lambda session, _: enqueue(session, [new_run(OTHER, key="k")])[0].created,
    "enqueue its request": lambda session, _: (
        enqueue(session, [new_run(OTHER, key="k", request_id="r")])[0].id == RUN
    ),
}
MARK: dict[str, Do] = {"tell": told, "mark": marked}
SWEEP: dict[str, Do] = {"sweep": swept, "cancel children": lambda s, _: cancel_children(s, [RUN])}

SCENES = {
    "held": Scene(_held, HELD | ALWAYS | SEND, DUTIES | MARK),
    "lost": Scene(_lost, {k: HELD[k] for k in ("advance", "fork group")}, DUTIES | SWEEP | MARK),
    "due": Scene(_waiting, ALWAYS, DUTIES),
    "owner": Scene(
        lambda stage: _held(stage, key="k", request_id="r"),
        ASKED | {k: HELD[k] for k in ("finish", "fail", "pass on")} | ALWAYS | CANVAS,
        DUTIES | {"hand back": given_back, "publish": published},
    ),
    "failed": Scene(_failed, ASKED | ALWAYS, DUTIES),
    "group": Scene(
        _forked, _joining(joined_badly) | ALWAYS, DUTIES | MARK | {"hand back": given_back}
    ),
    "map": Scene(lambda s: _forked(s, fork_map), _joining(joined_badly) | ALWAYS, DUTIES),
    "event": Scene(_resting_on_event, ALWAYS | SEND, DUTIES),
    "child": Scene(
        lambda stage: _forked(stage, start_child),
        {
            "end child": _settling(child_ends),
            "cancel child": lambda session, _: cancel(session, CHILD),
            "advance": HELD["advance"],
        }
        | ALWAYS,
        DUTIES | SWEEP,
    ),
    "paused": Scene(_paused, ALWAYS, DUTIES),
    "overdue": Scene(_overdue, ALWAYS, DUTIES | {"end overdue": overdue}),
}
