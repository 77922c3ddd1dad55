"""Whatever is done to a bench, nothing of it is left when it has ended."""

import json
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from taskplatform.verify.faults.nemesis import KINDS, schedule
from taskplatform.verify.rig import processes
from taskplatform.verify.rig.bench import Bench, bench
from tests.acceptance.processes import wait_for

# Servers, a worker and their ends, on a machine with other load.
pytestmark = pytest.mark.timeout(120)


def everybody(one: Bench) -> list[int]:
    return [*one.everyone(), *one.server_processes("database"), *one.server_processes("broker")]


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Broken(Exception):
    """What goes wrong in a harness."""


def test_nothing_is_left_when_the_harness_fails_in_the_middle_of_a_fault(tmp_path: Path) -> None:
    found: list[int] = []

    def fail() -> None:
        with bench(tmp_path, "pipelines.demo", 1, 1) as one:
            found.extend(everybody(one))
            made.append(one)
            assert listens(one.database.port)
            processes.send(one.workers[0].everyone(), signal.SIGSTOP)
            one.database.mode = "hole"
            raise Broken

    made: list[Bench] = []
    with pytest.raises(Broken):
        fail()
    (one,) = made
    assert len(found) > 6
    wait_for(lambda: not any(map(_lives, found)), 10, "nothing of it lives")
    assert not one.home.exists()
    assert not listens(one.database.port)
    assert not listens(one.broker.port)


def test_a_worker_that_was_killed_comes_back_under_its_name(tmp_path: Path) -> None:
    with bench(tmp_path, "pipelines.demo", 1, 1) as one:
        (worker,) = one.workers
        before = worker.everyone()
        assert worker.supervisors()
        assert worker.children()
        killed = worker.kill()
        assert set(killed) >= set(before)
        wait_for(lambda: not any(map(_lives, before)), 5, "all of it is dead")
        assert not worker.alive
        assert worker.start_if_ended() is None, "a fault keeps it down"
        worker.start()
        wait_for(lambda: bool(worker.supervisors()), 60, "it is back")
        assert worker.pid not in before


def test_a_worker_that_ends_by_itself_is_started_again_and_that_is_written_down(
    tmp_path: Path,
) -> None:
    with bench(tmp_path, "pipelines.demo", 1, 1) as one:
        (worker,) = one.workers
        before = worker.pid
        processes.send([before], signal.SIGTERM)
        wait_for(lambda: worker.pid != before, 30, "the next one is there")
        assert one.wait_ready()
    (line,) = map(json.loads, (tmp_path / "restarts.jsonl").read_text().splitlines())
    assert (line["worker"], line["code"]) == ("w1", 0)


def _lives(pid: int) -> bool:
    return processes.state(pid) not in ("", "Z")


def test_a_seed_gives_the_same_schedule_with_all_that_is_wanted() -> None:
    wanted = {kind: 1 + number % 3 for number, kind in enumerate(KINDS)}
    made = schedule(7, wanted)
    assert made == schedule(7, dict(reversed(wanted.items())))
    assert made != schedule(8, wanted)
    assert {kind: [one.kind for one in made].count(kind) for kind in KINDS} == wanted
