"""kombu's Redis transports, made to survive what others put into Redis.

A worker's connections are made with a subclass of whatever class the app's URL stands for, so
`redis://`, `rediss://`, sockets, Sentinel and failover stay kombu's own.
"""

from functools import cache, cached_property
from queue import Empty
from typing import Any

from celery import Celery
from kombu.exceptions import InconsistencyError
from kombu.transport.redis import Channel, QoS, Transport
from kombu.transport.virtual import Message
from redis import RedisError

from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.junk import JUNK, sample
from taskplatform.celery.memory import LARGE, give_back
from taskplatform.celery.message import ENCODED
from taskplatform.celery.vetting import Flaw, vet_payload, vet_unpacked


def guard_connections(app: Celery) -> None:
    """Make the connections that this process opens from now on drop what is no message."""
    plain = app.amqp.Connection
    if not issubclass(plain, _Guarded):
        app.amqp.Connection = type("Connection", (_Guarded, plain), {})


class _Guarded:
    """A connection; asked for the transport each time, since failover may change the URL."""

    def get_transport_cls(self) -> type:
        return _guarded(super().get_transport_cls())  # type: ignore[misc]


@cache
def _guarded(transport: type) -> type:
    if not issubclass(transport, Transport):
        return transport
    channel = transport.Channel
    message = type("Message", (_Message, channel.Message), {})
    qos = type("QoS", (_QoS, channel.QoS), {})
    guarded = type("Channel", (_Channel, channel), {"Message": message, "QoS": qos})
    return type("Transport", (_Transport, transport), {"Channel": guarded})


class _Message(Message):
    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        try:
            vet_payload(payload, channel.ack_emulation)
            headers = payload.get("headers") or {}
            if headers.get("task") == SHIFT_TASK:
                # A shift reads nothing of it, and a receipt of it need not hold it.
                payload["body"], payload["headers"] = ENCODED, {"task": SHIFT_TASK}
                payload["properties"]["body_encoding"] = "base64"
            compression = headers.get("compression")
            if compression and payload.get("body"):
                encoding = payload["properties"].get("body_encoding")
                packed = channel.decode_body(payload["body"], encoding)
                vet_unpacked(packed.encode() if isinstance(packed, str) else packed, compression)
            super().__init__(payload, channel=channel, **options)  # type: ignore[no-untyped-call]
        except Flaw:
            raise
        except Exception as error:
            raise Flaw(f"it cannot be read ({type(error).__name__})") from error


class _Transport(Transport):
    # Whether what was read last has got as far as being delivered.
    delivered = False

    def _deliver(self, message: Any, queue: str) -> None:
        self.delivered = True
        try:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        except Flaw as flaw:
            # It has left its list and no receipt was written: it is gone.
            JUNK.drop(queue, str(flaw))


class _Channel(Channel):
    _item: Any = None
    _client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """One client for all commands; to make one for each, as kombu does, costs more."""
        if asynchronous:
            return super()._create_client(asynchronous)  # type: ignore[no-untyped-call]
        if self._client is None or self._client.connection_pool is not self.pool:
            self._client = super()._create_client()  # type: ignore[no-untyped-call]
        return self._client

    @cached_property
    def client(self) -> Any:
        """What blocks for messages; the last one it read is kept until it is delivered."""
        client = self._create_client(asynchronous=True)
        parse = client.parse_response

        def parse_response(connection: Any, command: str, **options: Any) -> Any:
            answer = parse(connection, command, **options)
            if command == "BRPOP":
                self._item = answer
            return answer

        client.parse_response = parse_response
        return client

    def _brpop_read(self, **options: Any) -> Any:
        self._item, self.connection.delivered = None, False
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except Empty:
            raise
        except Exception as error:
            # After it was read and before it was delivered, kombu only parses it.
            if not self._item or self.connection.delivered:
                raise
            queue, item = self._item
            JUNK.drop(_text(queue), f"it is no JSON ({type(error).__name__})", sample(item))
            raise Empty from None
        finally:
            large = self._item and len(self._item[1]) > LARGE
            self._item = None
            if large:
                # What is acknowledged is else kept until the next message comes.
                self.qos._flush()
                give_back()

    def _receive_one(self, c: Any) -> Any:
        try:
            return super()._receive_one(c)  # type: ignore[no-untyped-call]
        except (Empty, OSError, RedisError, InconsistencyError):
            # Redis is away. Not as kombu has it, to whom a KeyError is a lost connection, too.
            raise
        except Exception as error:
            # A broadcast is never given back, and not worth the worker.
            JUNK.drop("a broadcast", f"it cannot be handled ({type(error).__name__})")
            # Not Empty, which ends the reading: those behind it in the buffer would lie there.
            return None


class _QoS(QoS):
    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        try:
            super().restore_by_tag(tag, client, leftmost)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, RecursionError, LookupError, AttributeError) as error:
            # It would be met again, and never get any better.
            with self.pipe_or_acquire(client=client) as pipe:
                self._remove_from_indices(tag, pipe).execute()  # type: ignore[no-untyped-call]
            JUNK.drop("unacked", f"it cannot be given back ({type(error).__name__})")


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
