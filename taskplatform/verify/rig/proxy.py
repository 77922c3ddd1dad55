"""A TCP proxy before a server, which does to connections what networks do."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from taskplatform.verify.rig.sockets import owners
from taskplatform.verify.rig.wire import Conversation

Answer = TypeVar("Answer")
HOST = "127.0.0.1"
_CHUNK = 65536
# How long the answer to a lost COMMIT is waited for, behind the client's back.
_ANSWER = 10.0
# Closing with this sends a RST: the other side is not told that all was said.
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Link:
    """One client's connection and its counterpart at the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    talk: Conversation | None
    lost: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        """The client's own port."""
        return int(self.client.get_extra_info("peername")[1])


class Proxy:
    """Passes on, until told otherwise; in a thread of its own. All methods but `url` block.

    `postgres`: it understands the protocol as far as it needs to see where a transaction ends.
    """

    def __init__(self, port: int, *, postgres: bool = False) -> None:
        """Listen before the server at `port`."""
        self._to = port
        self._postgres = postgres
        self._links: set[Link] = set()
        self._latency = 0.0
        self._refusing = False
        self._armed = 0
        self.cuts: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        listener = socket.create_server((HOST, 0))
        self.port = int(listener.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self._thread.start()

    def url(self, direct: str) -> str:
        """The address of what a direct URL means, by way of the proxy."""
        return direct.replace(f"{HOST}:{self._to}", f"{HOST}:{self.port}")

    def clients(self) -> list[int]:
        """The pids of those who are connected."""
        return owners(self._call(lambda: [link.port for link in self._links]))

    def cut(self) -> list[int]:
        """Reset all connections, on both sides; the pids of their clients."""
        pids = self.clients()
        self._call(self._reset_all)
        return pids

    def refuse(self, yes: bool) -> None:
        """Reset new connections too, or no longer."""
        self._call(lambda: setattr(self, "_refusing", yes))

    def hole(self, yes: bool) -> list[int]:
        """Let nothing through, though connections stay open and new ones are made; or again all.

        What was sent meanwhile arrives late, as TCP sends again what was lost. The clients' pids.
        """
        pids = self.clients()
        self._call(self._open.clear if yes else self._open.set)
        return pids

    def slow(self, seconds: float) -> list[int]:
        """Hold up whatever passes for so long, in both directions; the clients' pids."""
        self._call(lambda: setattr(self, "_latency", seconds))
        return self.clients()

    def cut_after_commit(self, many: int = 1) -> None:
        """Let the next commits reach the server and cut their clients before they hear of it.

        The pids of those who were cut are in `cuts`. 0: no more.
        """
        assert self._postgres, "only PostgreSQL commits"
        self._call(lambda: setattr(self, "_armed", many))

    def close(self) -> None:
        """Reset everything and end."""
        future = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        future.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _call(self, act: Callable[[], Answer]) -> Answer:
        done: Future[Answer] = Future()

        def call() -> None:
            try:
                done.set_result(act())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        return done.result(10)

    def _serve(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        made = asyncio.start_server(self._accept, sock=listener, limit=4 * _CHUNK)
        self._server = self._loop.run_until_complete(made)
        self._loop.run_forever()
        self._loop.close()

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._open.set()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # What was closed is told to the streams in the next round.
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset(client)
            return
        try:
            answers, server = await asyncio.open_connection(HOST, self._to, limit=4 * _CHUNK)
        except OSError:
            _reset(client)
            return
        link = Link(client, server, Conversation() if self._postgres else None)
        self._links.add(link)
        up = asyncio.ensure_future(self._up(link, reader))
        down = asyncio.ensure_future(self._down(link, answers))
        # Cancelled it is at the end of the proxy only, of which the stream need not hear.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if link.lost:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(link.answered.wait(), _ANSWER)
        self._links.discard(link)
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        for one in (client, server):
            with contextlib.suppress(OSError):
                one.close()

    async def _up(self, link: Link, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._hold_up()
                if link.talk is not None:
                    end = link.talk.sent(data)
                    if end is not None and self._armed > 0:
                        self._armed -= 1
                        link.lost = True
                        link.server.write(data[:end])
                        self.cuts += owners([link.port])
                        _reset(link.client)
                        await link.server.drain()
                        return
                link.server.write(data)
                await link.server.drain()

    async def _down(self, link: Link, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if link.talk is not None:
                    link.talk.answered(data)
                    if link.lost and link.talk.outstanding <= 0:
                        return
                if not link.lost:
                    await self._hold_up()
                # It may have been lost while it was held up.
                if not link.lost:
                    link.client.write(data)
                    await link.client.drain()
        except OSError:
            return
        finally:
            link.answered.set()

    async def _hold_up(self) -> None:
        if self._latency:
            await asyncio.sleep(self._latency)
        await self._open.wait()

    def _reset_all(self) -> None:
        for link in self._links:
            _reset(link.client)
            _reset(link.server)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        raw: Any = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
