"""Joins: whoever ends the last branch lets the run go on, once, however many end at once."""

import threading
from collections.abc import Sequence
from uuid import UUID

import pytest

from taskplatform.storage.claim import Claimed
from taskplatform.storage.connection import Session
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import (
    ForkGroup,
    ForkMap,
    Join,
    PutBack,
    Result,
    Settlement,
)
from tests.integration.races.stage import Stage

SESSIONS = 8
FOR_EVER = float("inf")


def fork(stage: Stage, one: Claimed, how: ForkGroup | ForkMap) -> None:
    then = PutBack("m", "q", delay=FOR_EVER, reason="children", waiting_for="them", rest="branches")
    made = Settlement(one.work_id, one.epoch, one.run_id, then, fork=how)
    assert settle(stage.connection, [made], worker="w") == {one.work_id}


def ended(one: Claimed, output: bytes = b"1") -> Settlement:
    step = one.step
    result = Result(step, 1, 1, output, 0.0, 0.0, position=one.position)
    return Settlement(one.work_id, one.epoch, one.run_id, Join(), result, branch=True)


def at_once(jobs: Sequence[Sequence[Settlement]], sessions: Sequence[Session]) -> None:
    """Settle each list of jobs in a session of its own, all starting together."""
    start = threading.Barrier(len(sessions))
    errors: list[BaseException] = []

    def work(session: Session, mine: Sequence[Settlement]) -> None:
        try:
            start.wait(30)
            for one in mine:
                assert settle(session, [one], worker="w") == {one.work_id}
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(sessions, jobs, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors


def ready_mains(stage: Stage) -> list[UUID]:
    return [
        row[0]
        for row in stage.rows(
            "SELECT run_id FROM taskplatform.work"
            " WHERE branch = '' AND holder IS NULL AND due_at IS NULL AND rest = 'branches'"
        )
    ]


def test_200_joins_from_8_sessions_at_once_200_joined(stage: Stage) -> None:
    """Each run's eight branches end in eight sessions together."""
    runs = stage.runs(200)
    for one in stage.take():
        fork(stage, one, ForkGroup([(name, "q") for name in "abcdefgh"]))
    branches = stage.take(2000)
    assert len(branches) == 200 * SESSIONS
    jobs: list[list[Settlement]] = [[] for _ in range(SESSIONS)]
    for one in sorted(branches, key=lambda one: one.run_id):
        jobs["abcdefgh".index(one.branch)].append(ended(one))
    at_once(jobs, [stage.session() for _ in range(SESSIONS)])
    assert sorted(ready_mains(stage)) == sorted(runs)
    assert stage.value("SELECT count(*) FROM taskplatform.work") == 200
    assert stage.value("SELECT count(*) FROM taskplatform.step_results") == 1600
    assert stage.value("SELECT count(*) FROM taskplatform.runs WHERE status = 'running'") == 200


def test_the_items_of_a_map_end_in_8_sessions_and_are_collected_in_order(stage: Stage) -> None:
    (run,) = stage.runs()
    (one,) = stage.take()
    fork(stage, one, ForkMap("m", "q", 1, b"[%s]" % b",".join(b"%d" % n for n in range(400)), None))
    branches = stage.take(1000, costs={"p.m": 0.0})
    assert [int(claimed.item or b"") for claimed in branches] == list(range(400))
    jobs = [
        [ended(claimed, b"%d" % ((claimed.position or 0) * 2)) for claimed in branches[n::SESSIONS]]
        for n in range(SESSIONS)
    ]
    at_once(jobs, [stage.session() for _ in range(SESSIONS)])
    assert ready_mains(stage) == [run]
    collected = stage.results(run)["m"]
    assert collected == b"[%s]" % b",".join(b"%d" % (n * 2) for n in range(400))


@pytest.mark.parametrize("width", [1, 7, 50])
def test_no_more_items_than_wanted_are_open_at_once(stage: Stage, width: int) -> None:
    stage.runs()
    (one,) = stage.take()
    items = b"[%s]" % b",".join(b"%d" % n for n in range(60))
    fork(stage, one, ForkMap("m", "q", 1, items, width))
    seen = []
    while claimed := stage.take(1000, costs={"p.m": 0.0}, pipelines=("p",)):
        if claimed[0].branch == "":
            break
        open_now = stage.value("SELECT count(*) FROM taskplatform.work WHERE branch <> ''")
        assert open_now <= width
        seen += [one.position for one in claimed]
        settle(stage.connection, [ended(one) for one in claimed], worker="w")
    assert seen == list(range(60))


def test_a_branch_that_fails_for_good_drops_what_nobody_holds(stage: Stage) -> None:
    (run,) = stage.runs()
    (one,) = stage.take()
    fork(stage, one, ForkGroup([(name, "q") for name in "abcd"]))
    first, second = stage.take(1, costs={}) + stage.take(1, costs={})
    failing = Settlement(
        first.work_id, first.epoch, run, Join(run_error=b'{"type":"X"}'), branch=True
    )
    settle(stage.connection, [failing], worker="w")
    assert stage.rows("SELECT branch FROM taskplatform.work ORDER BY id") == [("",), ("b",)]
    assert ready_mains(stage) == []
    assert stage.status(run) == "running"
    settle(stage.connection, [ended(second)], worker="w")
    (main,) = stage.take()
    assert (main.branch, main.failing, main.error) == ("", True, b'{"type":"X"}')
    assert main.versions == {"b": 1}


def test_a_run_whose_only_body_was_given_back_is_not_running(stage: Stage) -> None:
    (run,) = stage.runs()
    (one,) = stage.take()
    fork(stage, one, ForkGroup([("a", "q"), ("b", "q")]))
    held = stage.take_started()
    assert stage.status(run) == "running"
    back = Settlement(held.work_id, held.epoch, run, PutBack("a", "q", tried=True), branch=True)
    settle(stage.connection, [back], worker="w")
    assert stage.status(run) == "queued"
