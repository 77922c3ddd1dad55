"""Events: matched once, whoever sends them, and whenever the wait is registered."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from taskplatform.core.ids import uuid7
from taskplatform.storage import events
from taskplatform.storage.claim import Claimed
from taskplatform.storage.connection import Session
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import NewWait, PutBack, Settlement
from tests.integration.races.stage import Stage

SENDERS = 50
ROUNDS = 10


def wait(session: Session, one: Claimed) -> None:
    """Register a wait, as a child that reached it."""
    then = PutBack("a", "q", delay=86400.0, reason="event", waiting_for="e", rest="event")
    new = NewWait("a", "approved", "id", "r1", 86400.0)
    made = Settlement(one.work_id, one.epoch, one.run_id, then, wait=new)
    assert settle(session, [made], worker="w") == {one.work_id}


def send(session: Session, number: int) -> UUID:
    id = uuid7()
    data = b'{"id":"r1","number":%d}' % number
    events.send(session, id=id, name="approved", data=data, values=["r1", str(number)])
    return id


@pytest.mark.parametrize("when", ["before", "at", "after"])
def test_an_event_from_50_senders_is_matched_once(stage: Stage, when: str) -> None:
    """Sent before, at and after the wait: one of them is its event, and the run is ready once."""
    sessions = [stage.session() for _ in range(SENDERS)]
    for _ in range(ROUNDS):
        (run,) = stage.runs()
        (one,) = stage.take(1)
        if when == "after":
            wait(stage.connection, one)
        start = threading.Barrier(SENDERS + (when == "at"))

        def sender(number: int, start: threading.Barrier = start) -> UUID:
            start.wait(30)
            return send(sessions[number], number)

        with ThreadPoolExecutor(SENDERS) as pool:
            sent = [pool.submit(sender, number) for number in range(SENDERS)]
            if when == "at":
                start.wait(30)
                wait(stage.connection, one)
            ids = {future.result(60) for future in sent}
        if when == "before":
            wait(stage.connection, one)
        matched = stage.rows("SELECT event_id FROM taskplatform.waits WHERE run_id = %s", run)
        assert len(matched) == 1
        assert matched[0][0] in ids
        (ready,) = stage.take(10)
        assert (ready.run_id, ready.rest) == (run, "event")
        assert stage.value("SELECT count(*) FROM taskplatform.events") == SENDERS
        stage.connection.execute("DELETE FROM taskplatform.work")
        stage.connection.execute("DELETE FROM taskplatform.events")


def test_one_event_serves_every_run_that_waits_for_it(stage: Stage) -> None:
    stage.runs(20)
    for one in stage.take():
        wait(stage.connection, one)
    send(stage.connection, 1)
    assert len(stage.take()) == 20
    assert stage.value("SELECT count(DISTINCT event_id) FROM taskplatform.waits") == 1


def test_the_same_event_sent_again_changes_nothing(stage: Stage) -> None:
    (run,) = stage.runs()
    id = uuid7()
    for number in (1, 2):
        data = b'{"id":"r1","number":%d}' % number
        events.send(stage.connection, id=id, name="approved", data=data, values=["r1"])
    (one,) = stage.take()
    wait(stage.connection, one)
    assert stage.rows("SELECT event_id FROM taskplatform.waits WHERE run_id = %s", run) == [(id,)]
    assert b'"number":1' in stage.value("SELECT data FROM taskplatform.events")
