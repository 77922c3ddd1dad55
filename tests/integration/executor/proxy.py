"""A TCP proxy before PostgreSQL that can lose an answer."""

import select
import socket
import threading
from urllib.parse import urlsplit

# ReadyForQuery, outside of a transaction: what was sent is committed.
COMMITTED = b"Z\x00\x00\x00\x05I"


class Proxy:
    """Passes bytes on; armed, it cuts the connection instead of passing on that it committed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._server = (parts.hostname, parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        place = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{place}@127.0.0.1:{port}").geturl()
        self.armed = threading.Event()
        self.cuts = 0
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()
        self._open: list[socket.socket] = []

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._open += [client, server]
            thread = threading.Thread(target=self._pass_on, args=(client, server))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        tail = b""
        with client, server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        data = ready.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    if ready is server and self.armed.is_set():
                        tail = (tail + data)[-200_000:]
                        if COMMITTED in tail:
                            self.armed.clear()
                            self.cuts += 1
                            return
                    other[ready].sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join()
