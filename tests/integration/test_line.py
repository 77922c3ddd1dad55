"""Rings that are sent and not waited for, on a real Valkey (W22, G5, Q20)."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from time import monotonic, sleep

import pytest
from redis import Redis

from taskplatform.celery.address import Address
from taskplatform.celery.bell import MOST_MESSAGES, Bell
from taskplatform.celery.line import Line
from taskplatform.celery.ringer import PAUSE, Broken, Ringer
from taskplatform.endpoints import endpoints

QUEUE = "orders"
PATIENCE = 10.0


@pytest.fixture
def redis(broker_url: str) -> Iterator["Redis"]:
    with closing(Redis.from_url(broker_url)) as client:
        yield client


@pytest.fixture
def bell(broker_url: str) -> Iterator[Bell]:
    with closing(Bell(Address(broker_url))) as made:
        # Loads the script.
        made.ring({"another": 1})
        yield made


@pytest.fixture
def line(bell: Bell) -> Line:
    return Line(bell)


def test_a_single_ring_wakes_one_that_lingers(line: Line, bell: Bell, redis: Redis) -> None:
    listening = bell.listen([QUEUE], 5, "one")
    next(listening)

    assert line.ring(QUEUE)

    assert next(listening) is True
    listening.close()
    assert redis.llen(QUEUE) == 0


def test_if_nobody_lingers_each_ring_is_a_message_of_its_own(line: Line, redis: Redis) -> None:
    for _ in range(3):
        assert line.ring(QUEUE)
    assert line.flush(PATIENCE)
    messages = redis.lrange(QUEUE, 0, -1)
    assert len(set(messages)) == 3

    for _ in range(3 * MOST_MESSAGES):
        line.ring(QUEUE)
        line.flush(PATIENCE)
    messages = redis.lrange(QUEUE, 0, -1)
    assert len(set(messages)) == len(messages) == MOST_MESSAGES


def test_when_nobody_has_to_be_woken_rings_are_left_to_the_thread(line: Line, bell: Bell) -> None:
    """W22: it gathers them, and none is left out."""
    bell.attend([QUEUE], "awake", 60)
    heard: list[int] = []

    def ring(queues: object) -> bool:
        heard.append(sum(dict(queues).values()))  # type: ignore[call-overload]
        return True

    ringer = Ringer(ring, lambda: line)
    while not ringer.quick:
        ringer.ring(QUEUE)
        ringer.flush(PATIENCE)
    heard.clear()

    started, rung = monotonic(), 0
    while monotonic() < started + 20 * PAUSE:
        ringer.ring(QUEUE)
        rung += 1
    assert ringer.flush(PATIENCE)
    took = monotonic() - started

    at_once = rung - sum(heard)
    assert 1 <= at_once <= took / PAUSE + 2
    assert len(heard) <= took / PAUSE + 2


@pytest.mark.parametrize("how", ["killed", "closed", "another"])
def test_a_line_that_broke_sends_nothing_and_says_so(
    line: Line, bell: Bell, redis: Redis, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F15: then the thread rings, which waits and sees what is wrong."""
    assert line.ring(QUEUE)
    assert line.flush(PATIENCE)
    if how == "killed":
        redis.client_kill_filter(_type="normal", skipme=True)
        _until_closed(line)
    elif how == "closed":
        bell.close()
    else:
        endpoints.cache_clear()
        monkeypatch.setattr("taskplatform.celery.line.broker_url", lambda: "redis://elsewhere/0")
    with pytest.raises(Broken):
        line.ring(QUEUE)
    assert redis.llen(QUEUE) == 1


def test_a_script_that_redis_forgot_is_loaded_by_the_thread(line: Line, redis: Redis) -> None:
    """G5: one ring is lost by it."""
    redis.script_flush()
    assert line.ring(QUEUE)
    assert not line.flush(PATIENCE)
    with pytest.raises(Broken):
        line.ring(QUEUE)


def test_a_broker_that_does_not_answer_delays_nobody(
    bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q20: enqueue never waits for the broker; the thread does, and tries another connection."""
    monkeypatch.setattr("taskplatform.celery.line._LONGEST_UNANSWERED", 0.3)
    line = Line(bell)
    line._socket, theirs = socket.socketpair()
    line._socket.setblocking(False)
    with line._socket, theirs:
        started = monotonic()
        sent = [line.ring(QUEUE) for _ in range(20)]
        assert monotonic() - started < 0.3
        assert sent == [True] * 8 + [False] * 12
        sleep(0.3)
        with pytest.raises(Broken):
            line.ring(QUEUE)


def test_a_forked_child_leaves_its_parents_line_alone(bell: Bell, redis: Redis) -> None:
    """Q10."""
    ringer = Ringer(bell.ring, lambda: Line(bell))
    while not ringer.quick:
        ringer.ring("another")
        ringer.flush(PATIENCE)

    child = os.fork()
    if child == 0:
        os._exit(0 if ringer.quick is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    ringer.ring(QUEUE)
    assert ringer.flush(PATIENCE)
    assert ringer.quick is not None
    assert redis.llen(QUEUE) == 1


def _until_closed(line: Line) -> None:
    until = monotonic() + PATIENCE
    while monotonic() < until:
        try:
            if line._socket.recv(1, socket.MSG_PEEK) == b"":
                return
        except BlockingIOError:
            sleep(0.001)
        except OSError:
            return
    raise AssertionError
