"""What bodies write down: whole lines, whoever writes at the same time."""

import json
import multiprocessing
import threading
from pathlib import Path
from uuid import UUID

import pytest

from taskplatform import Context
from taskplatform.verify.judge.fingerprint import fingerprint
from taskplatform.verify.ledger import Ledger

RUN = UUID(int=7)
PROCESSES, THREADS, LINES = 4, 4, 50


def _lines(folder: Path) -> list[dict[str, object]]:
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _thread(ledger: Ledger, thread: int) -> None:
    for number in range(LINES):
        ledger.start(Context(RUN, f"step[{thread}]", number, epoch=thread), "five")


def _process(ledger: Ledger) -> None:
    threads = [threading.Thread(target=_thread, args=(ledger, one)) for one in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_line_says_which_execution_it_is(tmp_path: Path) -> None:
    ledger, ctx = Ledger(tmp_path), Context(RUN, "lyrics", 2, epoch=41)
    ledger.start(ctx, "five")
    ledger.effect(ctx, "five")
    ledger.end(ctx, "five", {"b": 1, "a": "é"})
    start, effect, end = _lines(tmp_path)
    same = {"run": str(RUN), "pipeline": "five", "step": "lyrics", "attempt": 2, "epoch": 41}
    assert all(line[name] == value for line in (start, effect, end) for name, value in same.items())
    assert [line["event"] for line in (start, effect, end)] == ["start", "effect", "end"]
    assert start.keys() >= {"pid", "mono", "wall"}
    assert effect["key"] == ctx.idempotency_key
    assert end["value"] == fingerprint({"a": "é", "b": 1})


def test_a_fingerprint_is_that_of_the_value() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({}) == "44136fa355b3678a"
    assert len({fingerprint(value) for value in (1, "1", [1], {"1": 1}, None, "\ud800")}) == 6


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_writers_at_once_leave_whole_lines(tmp_path: Path) -> None:
    """A ledger that was open before the fork, as in a prefork worker."""
    ledger = Ledger(tmp_path)
    ledger.start(Context(RUN, "parent", 1, epoch=1), "five")
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_process, args=(ledger,)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    lines = _lines(tmp_path)
    assert len(lines) == 1 + PROCESSES * THREADS * LINES
    files = list(tmp_path.iterdir())
    assert len(files) == 1 + PROCESSES
    pids = [{json.loads(line)["pid"] for line in file.read_text().splitlines()} for file in files]
    assert all(len(of_file) == 1 for of_file in pids)


def test_a_line_that_could_be_torn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 4095"):
        Ledger(tmp_path).start(Context(RUN, "s" * 5000, 1, epoch=1), "five")
