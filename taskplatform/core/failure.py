"""Why an attempt failed, as text that is always safe to store."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskplatform.core.redaction import redact
from taskplatform.core.traces import trace

_TYPE_CHARACTERS = 256
_MESSAGE_BYTES = 12 * 1024
_TRACEBACK_BYTES = 48 * 1024
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception's type, message and traceback; at most 64 KiB as JSON."""

    type: str
    message: str
    traceback: str = ""

    def __post_init__(self) -> None:
        for name, size in (("message", _MESSAGE_BYTES), ("traceback", _TRACEBACK_BYTES)):
            object.__setattr__(self, name, _fit(getattr(self, name), size))
        object.__setattr__(self, "type", _fit(self.type[:_TYPE_CHARACTERS], _MESSAGE_BYTES))

    @classmethod
    def of(cls, error: BaseException, conceal: Callable[[str], str] = redact) -> "Failure":
        """Describe an exception; never raises, whatever the exception's own methods do.

        `conceal` takes the secrets out of a text.
        """
        return cls(type_name(type(error)), conceal(_message(error)), trace(error, conceal))

    def encode(self, step: str | None = None) -> bytes:
        """Write it as a JSON object; a run's error also names the step."""
        content = {"type": self.type, "message": self.message, "traceback": self.traceback}
        if step is not None:
            content["step"] = step
        return _json(content)

    @classmethod
    def decode(cls, data: bytes) -> "Failure":
        """Read what `encode` wrote."""
        content = json.loads(data)
        return cls(content["type"], content["message"], content.get("traceback") or "")


def type_name(kind: type) -> str:
    """The qualified name of a class; without the module for a builtin."""
    module = str(getattr(kind, "__module__", ""))
    name = str(getattr(kind, "__qualname__", "?"))
    return name if module in ("builtins", "") else f"{module}.{name}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:
        # Even an exception that cannot say what it is must be recorded as what it is.
        return f"<its __str__ raised {type_name(type(second))}>"


def _fit(text: str, size: int) -> str:
    """Clean a text and cut its middle until it takes at most `size` bytes of JSON."""
    half = size // 2
    left_out = 0
    if len(text) > size:
        left_out = len(text) - 2 * half
        head, tail = text[:half], text[-half:]
    else:
        head, tail = text, ""
    head, tail = _UNSTORABLE.sub("\ufffd", head), _UNSTORABLE.sub("\ufffd", tail)
    while True:
        note = f"\n[... {left_out} characters left out ...]\n" if left_out else ""
        if len(_json(head + note + tail)) <= size:
            return head + note + tail
        # Escapes and wide characters: a character may take up to six bytes.
        if not tail:
            middle = len(head) // 2
            head, tail = head[:middle], head[middle:]
        keep_head, keep_tail = len(head) * 7 // 8, len(tail) * 7 // 8
        left_out += len(head) - keep_head + len(tail) - keep_tail
        head, tail = head[:keep_head], tail[len(tail) - keep_tail :]


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
