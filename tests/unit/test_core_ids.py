"""Identifiers: version 7, growing, unique in threads and after a fork."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskplatform.core.ids import uuid7


def test_identifiers_are_version_7_and_carry_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_identifiers_grow_within_a_process() -> None:
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_identifiers_grow_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [uuid7()]
    hour = 3_600 * 10**9
    past = time.time_ns() - hour
    monkeypatch.setattr(time, "time_ns", lambda: past)
    made += [uuid7() for _ in range(100)]
    assert made == sorted(set(made))


def test_threads_make_no_identifier_twice() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = [one for part in threads.map(_many, range(8)) for one in part]
    assert len(set(made)) == len(made) == 8_000


def _many(_: int) -> list[object]:
    return [uuid7() for _ in range(1_000)]


def test_a_forked_child_makes_others_than_its_parent() -> None:
    uuid7()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(uuid7().hex for _ in range(100)).encode())
        os._exit(0)
    mine = {uuid7().hex for _ in range(100)}
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    theirs = {text[at : at + 32] for at in range(0, len(text), 32)}
    assert len(theirs) == 100
    assert not mine & theirs
