"""F17, A18, A29, W12: which messages are dropped, and what is said of them."""

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker.consumer import consumer as celerys
from kombu.transport import TRANSPORT_ALIASES, redis, resolve_transport

from taskplatform.celery import complaints, junk
from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.guard import vetted
from taskplatform.celery.junk import Junk, sample
from taskplatform.celery.message import message
from taskplatform.celery.transport import guard_connections
from taskplatform.celery.vetting import Flaw
from taskplatform.verify.faults import hostile

PLAIN = "tests.plain"
KOMBU: Any = redis


@pytest.fixture
def app() -> Celery:
    """Some app of a user's, guarded as its workers guard it."""
    made = Celery("some", set_as_current=False, broker="redis://nowhere", config_source={})
    made.conf.accept_content = ["json"]
    guard_connections(made)
    return made


class Receiver:
    """A consumer of Celery's, as far as its handler of messages sees it; and what came of each."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.connection_errors = ()
        self.strategies = {PLAIN: None, SHIFT_TASK: None}
        self.handled: list[Any] = []
        transport = app.connection_for_read().get_transport_cls()
        self._message: Any = transport.Channel.Message
        self._channel = SimpleNamespace(
            ack_emulation=True,
            decode_body=lambda *body: KOMBU.Channel.decode_body(KOMBU.Channel, *body),
            no_ack_consumers=None,
            basic_reject=lambda *_, **__: None,
        )

    def receive(self, entry: bytes) -> bool:
        """Whether the entry got as far as a task's strategy. Raises Flaw at the outer door."""
        message = self._message(KOMBU.loads(entry.decode()), channel=self._channel)
        message.accept = {"application/json"}
        if message.errors:
            return False
        before = len(self.handled)
        vetted(self, self.handled.append)(message)
        return len(self.handled) > before


@pytest.mark.parametrize("url", ["redis://a", "rediss://a", "redis+socket:///a", "sentinel://a"])
def test_every_kind_of_redis_is_guarded_and_stays_what_it_is(url: str) -> None:
    """Priorities, receipts, Sentinel and options are kombu's own: its class is the base."""
    app = Celery("some", set_as_current=False, broker=url)
    plain = app.connection_for_read().get_transport_cls()
    guard_connections(app)
    guard_connections(app)
    connection = app.connection_for_read()
    guarded = connection.get_transport_cls()
    assert guarded is connection.clone().get_transport_cls() is not plain
    assert issubclass(guarded, plain)
    assert issubclass(guarded.Channel, plain.Channel)
    assert issubclass(guarded.Channel.QoS, redis.QoS)
    assert resolve_transport("redis") is redis.Transport, "other apps keep theirs"
    assert TRANSPORT_ALIASES["redis"] == "kombu.transport.redis:Transport"


def test_another_broker_is_left_alone() -> None:
    app = Celery("some", set_as_current=False, broker="memory://")
    plain = app.connection_for_read().get_transport_cls()
    guard_connections(app)
    assert app.connection_for_read().get_transport_cls() is plain


TORN = hostile.torn("q")
FORGED = hostile.forged("q", PLAIN)
SHIFTS = hostile.shifts("q")
# Celery itself takes the first two for unknown messages and survives it, and a mapping without
# a mapping of kwargs for an invalid one. The others only open a shift, which reads nothing.
HARMLESS = {"no task, no protocol", "no headers", "unknown body encoding", "wrong base64"}
HARMLESS_FORGED = {"kwargs as list"}


def taken(app: Celery, entry: bytes) -> bool:
    """Whether it gets through all doors."""
    try:
        return Receiver(app).receive(entry)
    except (Flaw, ValueError, TypeError, RecursionError, ArithmeticError):
        return False


@pytest.mark.parametrize("name", TORN)
def test_what_is_no_message_gets_no_further_than_the_door(app: Celery, name: str) -> None:
    """Either it is no JSON, or no message, or none of a task."""
    assert taken(app, TORN[name]) <= (name in HARMLESS)


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_message_for_a_task_of_the_users_is_not_executed(app: Celery, name: str) -> None:
    """A18: its body is of another type or size, or what stands in its headers is."""
    assert taken(app, FORGED[name]) <= (name in HARMLESS_FORGED)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"eta": "2030-01-01T00:00:00", "expires": "2030-01-01T00:00:00+02:00"},
        {"timelimit": [10, 5.5]},
        {"timelimit": None, "shadow": "another name", "stamped_headers": ["a"], "stamps": {"a": 1}},
        {"own": {"of": ["any", "kind"]}, "argsrepr": "x" * 5_000},
    ],
)
def test_honest_messages_pass_as_they_are(app: Celery, change: dict[str, Any]) -> None:
    """What Celery sends is handed on, the same message."""
    one = json.loads(message(PLAIN, "q"))
    one["headers"] |= change
    receiver = Receiver(app)
    assert receiver.receive(json.dumps(one).encode())
    assert receiver.handled[0].headers == one["headers"]
    assert receiver.handled[0].payload == [[], {}, dict.fromkeys(receiver.handled[0].payload[2])]


@pytest.mark.parametrize("name", SHIFTS)
def test_nothing_of_a_shifts_message_is_kept(app: Celery, name: str) -> None:
    entry = SHIFTS[name]
    receiver = Receiver(app)
    assert receiver.receive(entry)
    if json.loads(entry)["headers"]:
        assert len(json.dumps(receiver.handled[0]._raw)) < 1_000
        assert hostile.TRAP not in json.dumps(receiver.handled[0]._raw)


@pytest.mark.parametrize(
    "value", [b"a\r\nb\x1b[31m\x00", "a\r\nb\u2028\x85\u202e", bytearray(b"x" * 10**6), "x" * 10**6]
)
def test_a_sample_is_short_and_plain(value: Any) -> None:
    shown = sample(value)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 300


def test_a_million_of_them_are_a_few_lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten in a minute one by one, the rest as a number; then again."""
    now = [1000.0]
    monkeypatch.setattr(junk, "monotonic", lambda: now[0])
    tried = Junk()
    caplog.set_level(logging.ERROR, junk.__name__)
    logging.getLogger(junk.__name__).addHandler(caplog.handler)
    for _ in range(1_000):
        tried.drop("q", "it is torn")
    tried.tell()
    tried.tell()
    now[0] += junk.WINDOW + 1
    tried.drop("q", "it is torn")
    assert tried.dropped == 1_001
    said = [record.getMessage() for record in caplog.records]
    assert len(set(map(id, caplog.records))) == junk.EACH + 2
    assert "dropped 990 more messages that nobody could have sent in earnest" in said


def test_what_celery_says_of_a_message_is_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A29: one line each, without the message's content, and not without end."""
    monkeypatch.setattr(complaints, "JUNK", Junk())
    arguments: tuple[Any, ...] = (
        KeyError("x\r\nforged" + "y" * 10**6),
        "body " * 10**5,
        {"headers": "\n"},
        {},
    )
    record = logging.LogRecord(
        "x", logging.ERROR, "x", 1, celerys.UNKNOWN_TASK_ERROR, arguments, (None, None, None)
    )
    admitted = complaints._shorten(record)
    assert admitted
    assert len(record.getMessage()) < 400
    assert "\n" not in record.getMessage()
    assert record.exc_info is None
    other = logging.LogRecord("x", logging.ERROR, "x", 1, "something else %s", ("\n",), None)
    assert complaints._shorten(other)
    assert other.getMessage() == "something else \n"
