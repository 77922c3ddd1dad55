"""The doorbell: one ring wakes one process.

A shift that has run out of work lingers: it says so in a sorted set and waits on a list of its
own. A ring takes one lingering shift off the set and wakes it; if there is none, it puts one
Celery message that opens a shift on the queue. A shift that finds work again and again as soon as
it has done some *attends*: it looks by itself within a few milliseconds, and a single ring wakes
nobody else. All of it is a hint that may be lost, doubled or stale: claims decide, and whoever is
not rung looks by itself after a quarter of a second.
"""

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import redis
from redis import Redis

from taskplatform.celery.address import Address, address_of, redis_url
from taskplatform.celery.installed import installed
from taskplatform.celery.message import message
from taskplatform.endpoints import broker_url
from taskplatform.errors import Unavailable

SHIFT_TASK = "taskplatform.shift"
# More messages than this on one queue would only open shifts that find nothing.
MOST_MESSAGES = 32
# Whoever attends takes so many runs of short steps in one go, and rings others if there are more
# than it can take. So a ring for no more than that wakes nobody else, and one for more a few, once
# in a while: thousands that are enqueued ring for each thousand of them.
ENOUGH_FOR_ONE = 32
FEW_MESSAGES = 4
SLICE = 0.1
# So long whoever attends is believed to.
ATTENDS = 0.1
_SPELL = int(1000 * ATTENDS)

# KEYS: lingering set, Celery's queue, attending set, whether a few were woken lately. ARGV: rings
# wanted, most messages, prefix of the listeners' own lists, how many are enough for one who attends
# (less than 0: it is the one who rings), few, for how many milliseconds that is enough, and
# perhaps a message to put on the queue if one is wanted. Whoever is rung is taken off the set: the
# next ring is for somebody else. The answer is how many messages are wanted; -1: nobody was woken,
# since somebody attends; -2: since as many messages wait as may.
_RING = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local wanted, most, enough = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
local woken = false
local attended = enough >= 0 and redis.call('ZCOUNT', KEYS[3], now, '+inf') > 0
if attended then
    if wanted <= enough then return -1 end
    if not redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[6]) then return -1 end
    most = math.min(most, tonumber(ARGV[5]))
end
wanted = math.min(wanted, tonumber(ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
while wanted > 0 do
    local listener = redis.call('ZPOPMAX', KEYS[1])[1]
    if not listener then break end
    redis.call('LPUSH', ARGV[3] .. listener, '1')
    redis.call('PEXPIRE', ARGV[3] .. listener, 2000)
    wanted, woken = wanted - 1, true
end
if wanted > 0 then wanted = math.min(wanted, most - redis.call('LLEN', KEYS[2])) end
if wanted > 0 and ARGV[7] then redis.call('LPUSH', KEYS[2], ARGV[7]) end
if wanted <= 0 and not woken then return -2 end
return math.max(wanted, 0)
"""

# KEYS: the listener's own list, pairs of a lingering and an attending set. ARGV: the listener,
# seconds. The answer is 1 if somebody else attends on all of the queues.
_LINGER = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local attended = 1
redis.call('DEL', KEYS[1])
for number = 2, #KEYS, 2 do
    redis.call('ZADD', KEYS[number], now + tonumber(ARGV[2]), ARGV[1])
    redis.call('PEXPIRE', KEYS[number], 5000)
    redis.call('ZREM', KEYS[number + 1], ARGV[1])
    if redis.call('ZCOUNT', KEYS[number + 1], now, '+inf') == 0 then attended = 0 end
end
return attended
"""

# KEYS: attending sets. ARGV: who attends, seconds (0: no more).
_ATTEND = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for number = 1, #KEYS do
    redis.call('ZREMRANGEBYSCORE', KEYS[number], '-inf', now)
    if tonumber(ARGV[2]) > 0 then
        redis.call('ZADD', KEYS[number], now + tonumber(ARGV[2]), ARGV[1])
        redis.call('PEXPIRE', KEYS[number], 5000)
    else
        redis.call('ZREM', KEYS[number], ARGV[1])
    end
end
"""

# KEYS: the guard, queues. ARGV: how long the guard is kept, messages.
_ONCE = """
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
    for number = 2, #KEYS do redis.call('LPUSH', KEYS[number], ARGV[number]) end
end
"""
_GUARD_SECONDS = 7 * 86400


class Bell:
    """Rings, and listens, on one Redis."""

    def __init__(self, address: Address) -> None:
        self.closed = False
        self._address = address
        self._redis = Redis.from_url(
            address.url,
            socket_timeout=2,
            socket_connect_timeout=1,
            socket_keepalive=True,
            **address.tls,
        )
        self._ring = self._redis.register_script(_RING)
        self._linger = self._redis.register_script(_LINGER)
        self._attend = self._redis.register_script(_ATTEND)
        self._once = self._redis.register_script(_ONCE)

    def ring(
        self, queues: Mapping[str, int], most: int = MOST_MESSAGES, *, attends: bool = False
    ) -> bool:
        """Wake up to so many processes for each queue; `attends`: others than those who attend.

        True: nobody had to be woken: to every queue somebody attends, or as many messages wait as
        may. Raises Unavailable.
        """
        enough = -1 if attends else ENOUGH_FOR_ONE
        attended = True
        try:
            for queue, wanted in queues.items():
                own = self._key("bell", "")
                args: list[int | str] = [wanted, most, own, enough, FEW_MESSAGES, _SPELL]
                # Most rings need none, so they are not made before that is known.
                messages = self._ring(keys=self._rung(queue), args=args)
                attended = attended and messages < 0
                if messages > 0:
                    made = [message(SHIFT_TASK, queue) for _ in range(messages)]
                    self._redis.lpush(self._list(queue), *made)
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error
        return attended

    def single(self, queue: str, message: bytes) -> tuple[Any, ...]:
        """The command that rings once, and puts the message on the queue if one is wanted."""
        keys, own = self._rung(queue), self._key("bell", "")
        how = (1, MOST_MESSAGES, own, ENOUGH_FOR_ONE, FEW_MESSAGES, _SPELL, message)
        return "EVALSHA", self._ring.sha, len(keys), *keys, *how

    def connection(self) -> Any:
        """Another connection to the same Redis, not yet connected."""
        return self._redis.connection_pool.make_connection()

    def attend(self, queues: Sequence[str], listener: str, seconds: float) -> None:
        """Tell that the listener looks at the queues often, for so long; 0: no more.

        Raises Unavailable.
        """
        try:
            self._attend(
                keys=[self._key("attending", queue) for queue in queues], args=[listener, seconds]
            )
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error

    def publish_once(self, guard: str, messages: Sequence[tuple[str, str]]) -> None:
        """Put (list, message) on Redis, unless that was done under this guard within a week.

        Raises Unavailable.
        """
        keys = [self._key("once", guard), *(f"{self._address.prefix}{one}" for one, _ in messages)]
        try:
            self._once(keys=keys, args=[_GUARD_SECONDS, *(message for _, message in messages)])
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error

    def listen(
        self, queues: Sequence[str], seconds: float, listener: str
    ) -> Generator[bool, None, None]:
        """Linger: yield True when rung, False now and then so that the caller can look around.

        Raises Unavailable.
        """
        lingering = [self._key("lingering", queue) for queue in queues]
        sets = [self._key(what, queue) for queue in queues for what in ("lingering", "attending")]
        own = self._key("bell", listener)
        ends = monotonic() + seconds
        left_by_ring = False
        try:
            # What was enqueued a moment ago rang when nobody was listening yet. Whoever attends
            # sees it in any case.
            if not self._linger(keys=[own, *sets], args=[listener, seconds + SLICE]):
                yield False
            with self._ear() as ear:
                while (left := ends - monotonic()) > 0:
                    ear.send_command("BLPOP", own, max(0.01, min(SLICE, left)))
                    rung = ear.read_response() is not None
                    left_by_ring = rung and len(queues) == 1
                    yield rung
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error
        finally:
            if not left_by_ring:
                self._leave(lingering, listener)

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self._redis.close()

    @contextmanager
    def _ear(self) -> Iterator[Any]:
        # What the client does around a command takes as long as it takes to claim.
        pool = self._redis.connection_pool
        ear = pool.get_connection()
        try:
            yield ear
        finally:
            pool.release(ear)

    def _leave(self, lingering: list[str], listener: str) -> None:
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key in lingering:
                    pipe.zrem(key, listener)
                pipe.execute()
        except redis.RedisError:
            # The entry expires by itself.
            self._redis.close()

    def _rung(self, queue: str) -> list[str]:
        lingering, attending, few = (
            self._key(what, queue) for what in ("lingering", "attending", "few")
        )
        return [lingering, self._list(queue), attending, few]

    def _key(self, what: str, queue: str) -> str:
        return f"{self._address.prefix}taskplatform:{what}:{queue}"

    def _list(self, queue: str) -> str:
        return f"{self._address.prefix}{queue}{self._address.suffix}"


def ring(queues: Mapping[str, int]) -> bool:
    """Ring from a process that is no worker; whether nobody had to be woken. Raises Unavailable."""
    return clients_bell().ring(queues)


def clients_bell() -> Bell:
    """The bell of a process that is no worker."""
    app = installed()
    return bell(Address(redis_url(broker_url())) if app is None else address_of(app))


_bells: dict[tuple[int, str, str], Bell] = {}


def bell(address: Address) -> Bell:
    """The bell of this process; a forked child gets its own."""
    key = (os.getpid(), address.url, address.prefix)
    if key not in _bells:
        _bells.clear()
        _bells[key] = Bell(address)
    return _bells[key]


def forget() -> None:
    """Close the bells of this process; the next ring connects anew."""
    for one in _bells.values():
        one.close()
    _bells.clear()
