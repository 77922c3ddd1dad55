"""The doorbell on a real Valkey: who is woken by a ring, and who need not be (W22, G5)."""

from collections.abc import Iterator
from contextlib import closing
from time import monotonic, sleep

import pytest
from redis import Redis

from taskplatform.celery.address import Address
from taskplatform.celery.bell import (
    ATTENDS,
    ENOUGH_FOR_ONE,
    FEW_MESSAGES,
    MOST_MESSAGES,
    Bell,
)
from taskplatform.celery.ringer import PAUSE, Ringer

QUEUE = "orders"


@pytest.fixture
def redis(broker_url: str) -> Iterator["Redis"]:
    with closing(Redis.from_url(broker_url)) as client:
        yield client


@pytest.fixture
def bell(broker_url: str) -> Iterator[Bell]:
    with closing(Bell(Address(broker_url))) as made:
        yield made


@pytest.fixture
def listener(broker_url: str) -> Iterator[Bell]:
    """A shift listens on a connection of its own."""
    with closing(Bell(Address(broker_url))) as made:
        yield made


def test_a_ring_wakes_one_that_lingers_and_sends_nothing(
    bell: Bell, listener: Bell, redis: Redis
) -> None:
    listening = listener.listen([QUEUE], 5, "one")
    assert next(listening) is False

    assert bell.ring({QUEUE: 1}) is False

    assert next(listening) is True
    listening.close()
    assert redis.llen(QUEUE) == 0


def test_if_nobody_lingers_a_ring_is_messages_up_to_a_limit(bell: Bell, redis: Redis) -> None:
    bell.ring({QUEUE: 3})
    assert redis.llen(QUEUE) == 3

    bell.ring({QUEUE: 1000})
    bell.ring({QUEUE: 1000})

    assert redis.llen(QUEUE) == MOST_MESSAGES


def test_whoever_attends_leaves_the_others_asleep(bell: Bell, listener: Bell, redis: Redis) -> None:
    """A stream of single enqueues is worked by one child, and opens no shifts."""
    asleep = listener.listen([QUEUE], 5, "asleep")
    next(asleep)
    bell.attend([QUEUE], "awake", 60)

    assert bell.ring({QUEUE: 1}) is True
    assert bell.ring({QUEUE: ENOUGH_FOR_ONE}) is True

    assert next(asleep) is False
    asleep.close()
    assert redis.llen(QUEUE) == 0


def test_what_is_too_much_for_one_wakes_others_too(
    bell: Bell, listener: Bell, redis: Redis
) -> None:
    asleep = listener.listen([QUEUE], 5, "asleep")
    next(asleep)
    bell.attend([QUEUE], "awake", 60)

    assert bell.ring({QUEUE: 1000}) is False

    assert next(asleep) is True
    asleep.close()
    assert redis.llen(QUEUE) == FEW_MESSAGES

    # Those ring for more, if there is more than they can take.
    redis.delete(QUEUE)
    assert bell.ring({QUEUE: 1000}) is True
    assert redis.llen(QUEUE) == 0
    until = monotonic() + 20
    while not redis.llen(QUEUE) and monotonic() < until:
        bell.ring({QUEUE: 1000})
    assert redis.llen(QUEUE) == FEW_MESSAGES


def test_one_that_attends_can_wake_others(bell: Bell, redis: Redis) -> None:
    """It has found more than it can take."""
    bell.attend([QUEUE], "awake", 60)

    assert bell.ring({QUEUE: 1}, attends=True) is False

    assert redis.llen(QUEUE) == 1


def test_attention_ends_when_it_is_taken_back(bell: Bell, redis: Redis) -> None:
    bell.attend([QUEUE], "awake", 60)
    bell.attend([QUEUE], "awake", 0)

    assert bell.ring({QUEUE: 1}) is False
    assert redis.llen(QUEUE) == 1


def test_attention_ends_by_itself(bell: Bell, redis: Redis) -> None:
    """G5: one that was killed, or is in a body longer than expected, is not waited for."""
    bell.attend([QUEUE], "killed", ATTENDS)
    deadline = monotonic() + 20 * ATTENDS
    while bell.ring({QUEUE: 1}):
        assert monotonic() < deadline
        sleep(ATTENDS / 10)

    assert redis.llen(QUEUE) == 1


def test_attention_is_by_queue(bell: Bell, redis: Redis) -> None:
    bell.attend([QUEUE], "awake", 60)

    assert bell.ring({QUEUE: 1, "mails": 1}) is False

    assert (redis.llen(QUEUE), redis.llen("mails")) == (0, 1)


def test_one_that_lingers_does_not_attend(bell: Bell, listener: Bell, redis: Redis) -> None:
    """What is enqueued from then on rings it; what was before, it looks for."""
    listener.attend([QUEUE], "one", 60)
    listening = listener.listen([QUEUE], 5, "one")
    assert next(listening) is False

    assert bell.ring({QUEUE: 1}) is False

    assert next(listening) is True
    listening.close()
    assert redis.llen(QUEUE) == 0


def test_beside_one_that_attends_to_all_its_queues_it_need_not_look_at_once(
    bell: Bell, listener: Bell
) -> None:
    bell.attend([QUEUE], "awake", 60)
    started = monotonic()
    with closing(listener.listen([QUEUE], 5, "asleep")) as listening:
        next(listening)
    assert monotonic() - started > 0.05

    # Nobody attends to this one.
    started = monotonic()
    with closing(listener.listen([QUEUE, "mails"], 5, "asleep")) as listening:
        next(listening)
    assert monotonic() - started < 0.05


def test_who_rings_for_one_that_attends_takes_its_time() -> None:
    """W22: what comes meanwhile goes into the next ring, and none is left out."""
    heard: list[int] = []

    def attended(queues: object) -> bool:
        heard.append(sum(dict(queues).values()))  # type: ignore[call-overload]
        return True

    ringer = Ringer(attended)
    started = monotonic()
    for _ in range(2000):
        ringer.ring(QUEUE)
    assert ringer.flush(10)
    took = monotonic() - started

    assert sum(heard) == 2000
    assert len(heard) <= took / PAUSE + 2
