"""Threads for bodies that block: one for each at once, and used again."""

import threading

import pytest

from taskplatform.executor import hands as hands_module
from taskplatform.executor.hands import Hands


def test_jobs_at_once_have_a_thread_each_and_later_ones_use_them_again() -> None:
    """W18: as many threads as there are bodies, not one for every body there ever was."""
    hands, seen = Hands("hand"), set()
    for _ in range(3):
        together, done = threading.Barrier(20, timeout=10), threading.Semaphore(0)

        def job(together: threading.Barrier = together, done: threading.Semaphore = done) -> None:
            together.wait()
            seen.add(threading.current_thread())
            done.release()

        for _ in range(20):
            hands.do(job)
        for _ in range(20):
            assert done.acquire(timeout=10)
        settled = threading.Event()
        while hands._free < 20:
            settled.wait(0.001)
    assert len(seen) == 20


def test_threads_without_a_job_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is asked for just then still finds somebody."""
    monkeypatch.setattr(hands_module, "_IDLE", 0.01)
    hands, done = Hands("leaver"), threading.Semaphore(0)
    for _ in range(200):
        hands.do(done.release)
        assert done.acquire(timeout=10)
        threading.Event().wait(0.01)
    until = threading.Event()
    for _ in range(1000):
        if not [one for one in threading.enumerate() if one.name == "leaver"]:
            break
        until.wait(0.01)
    assert hands._free == 0
