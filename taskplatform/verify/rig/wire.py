"""PostgreSQL's protocol, as far as one has to read it to see where a transaction commits."""

import re
import struct
import threading

_NEGOTIATIONS = (80877103, 80877104)
# Workers and leases are written all the time: cut there, hardly anything else would be hit.
_WRITES = re.compile(
    rb"\b(insert\s+into|update|delete\s+from)\s+taskplatform\.(?!workers|holders)", re.IGNORECASE
)
_BEGINS = re.compile(rb"^\s*(begin|start\s+transaction)\b", re.IGNORECASE)
_COMMITS = re.compile(rb"^\s*(commit|end)\b", re.IGNORECASE)
_ENDS = re.compile(rb"^\s*(commit|end|rollback|abort)\b(?!.*\bto\b)", re.IGNORECASE)
_READY = re.compile(rb"Z\x00\x00\x00\x05[ITE]")


class Conversation:
    """One client's connection: what it has sent, and how many answers are still due."""

    def __init__(self) -> None:
        """Nothing was said yet: the server will say once that it is ready."""
        self._outstanding = 1
        # One thread reads what is sent, another what is answered.
        self._counting = threading.Lock()
        self._negotiating = True
        self._rest = b""
        self._tail = b""
        self._texts: dict[bytes, bytes] = {}
        self._in_block = False
        self._commits = False
        self._wrote = False

    def sent(self, data: bytes) -> int | None:
        """Note what the client sends; where in it the first commit of a transaction ends."""
        kept = len(self._rest)
        self._rest += data
        at, found = 0, None
        while (message := self._next(at)) is not None:
            kind, body, at = message
            if self._ends(kind, body) and found is None:
                found = at - kept
        self._rest = self._rest[at:]
        return found

    def answered(self, data: bytes) -> None:
        """Note what the server answers."""
        seen = self._tail + data
        last = 0
        for ready in _READY.finditer(seen):
            self._count(-1)
            last = ready.end()
        self._tail = seen[max(last, len(seen) - 5) :]

    @property
    def all_answered(self) -> bool:
        """Whether nothing that was sent waits for its answer."""
        return self._outstanding <= 0

    def _count(self, many: int) -> None:
        with self._counting:
            self._outstanding += many

    def _next(self, at: int) -> tuple[bytes, bytes, int] | None:
        head = 4 if self._negotiating else 5
        if len(self._rest) < at + head:
            return None
        (length,) = struct.unpack_from("!I", self._rest, at + head - 4)
        end = at + head - 4 + length
        if len(self._rest) < end:
            return None
        body = self._rest[at + head : end]
        if not self._negotiating:
            return self._rest[at : at + 1], body, end
        if struct.unpack_from("!I", body)[0] not in _NEGOTIATIONS:
            self._negotiating = False
        return b"", body, end

    def _ends(self, kind: bytes, body: bytes) -> bool:
        """Whether this message commits what was written."""
        if kind == b"P":
            name, text = body.split(b"\0", 2)[:2]
            self._texts[name] = text
        elif kind == b"B":
            self._execute(self._texts.get(body.split(b"\0", 2)[1], b""))
        elif kind in b"QS" and kind:
            self._count(1)
            if kind == b"Q":
                self._execute(body)
            commits = self._wrote and (self._commits or not self._in_block)
            self._commits = False
            if not self._in_block:
                self._wrote = False
            return commits
        return False

    def _execute(self, text: bytes) -> None:
        if _BEGINS.match(text):
            self._in_block = True
        elif _ENDS.match(text):
            self._in_block = False
            if _COMMITS.match(text):
                self._commits = True
            else:
                self._wrote = False
        elif _WRITES.search(text):
            self._wrote = True
