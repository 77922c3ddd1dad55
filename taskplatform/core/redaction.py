"""Texts without secrets: known ones, and what looks like one."""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

SHOWN = "***"
# Shorter ones occur everywhere.
SHORTEST = 4

_NAME = (
    r"(?<![A-Za-z0-9])(?:ssl)?(?:password|passwd|pwd|passcode|passphrase|secret|token|credentials?"
    r"|authorization|(?:set-)?cookies?"
    r"|(?:api|access|private|secret|signing|encryption)[_-]?key)"
)
# Every part consumes what it has looked at, so that no text takes more than linear time.
_USERINFO = re.compile(r"(://[^\s/?#:@\"']*:)[^\s/?#\"']*@|(://)[^\s/?#:@\"']{16,}@")
_ASSIGNED = re.compile(
    _NAME + r"(=)(?:'[^'\n]{0,4096}'?|\"[^\"\n]{0,4096}\"?|[^&\s,;'\")\]}]+)", re.IGNORECASE
)
_QUOTED = re.compile(
    _NAME
    + r"\\?['\"]\s{0,8}:\s{0,8}(?:b?'(?:[^'\\]|\\.){0,4096}'?|b?\"(?:[^\"\\]|\\.){0,4096}\"?"
    + r"|[^\s,}\]'\"]+)",
    re.IGNORECASE | re.DOTALL,
)
_HEADER = re.compile(
    r"(?<![A-Za-z0-9])((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token)"
    r"(:[ \t]{0,8})[^\s][^\r\n]*",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer)[ \t]+(?=[\w.~+/=-]*\d|[\w.~+/=-]{20})[\w.~+/=-]{8,}", re.I)
_INPUT_VALUE = re.compile(r"(\binput_value=).{0,300}?(?=, input_type=)", re.DOTALL)
_VALUE = re.compile(
    rb"://[^\s/?#:@\"]*:[^\s/?#\"]*@|://[^\s/?#:@\"]{16,}@|assword=[^\s&\"]"
    rb"|[Bb]earer +(?:[\w.~+/=-]*\d|[\w.~+/=-]{20})[\w.~+/=-]*"
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with *** for the secrets, for passwords in URLs, and for what is named like one."""
    known = _forms(secrets)
    for form in known:
        text = text.replace(form, SHOWN)
    if known and "input_value=" in text:
        # Pydantic's own messages show a value's beginning and end.
        text = _INPUT_VALUE.sub(rf"\1{SHOWN}", text)
    if "://" in text:
        text = _USERINFO.sub(lambda found: f"{found[1] or found[2]}{SHOWN}@", text)
    if "=" in text:
        text = _ASSIGNED.sub(lambda found: f"{found[0].partition('=')[0]}={SHOWN}", text)
    if ":" in text:
        text = _HEADER.sub(rf"\1\2{SHOWN}", text)
        text = _QUOTED.sub(_quoted, text)
    return _BEARER.sub(rf"\1 {SHOWN}", text) if "earer" in text or "EARER" in text else text


def holds_a_secret(data: bytes) -> bool:
    """Whether some text in this JSON has a password in a URL or the like."""
    if b"://" in data or b"assword=" in data or b"earer " in data:
        return _VALUE.search(data) is not None
    return False


def _quoted(found: re.Match[str]) -> str:
    before, colon, value = found[0].partition(":")
    gap = value[: len(value) - len(value.lstrip())]
    quote = next((one for one in ("'", '"') if value.strip().lstrip("b").startswith(one)), "")
    return f"{before}{colon}{gap}{quote}{SHOWN}{quote}"


def _forms(secrets: Iterable[str]) -> list[str]:
    """How the secrets may be written, the longest first: it may hold another."""
    forms: set[str] = set()
    for secret in secrets:
        stripped = secret.strip()
        lines = stripped.splitlines()
        forms |= {secret, stripped, *lines} if len(lines) > 1 else {secret, stripped}
        # What is only half of a character cannot be quoted.
        clean = secret.encode("utf-8", "replace").decode()
        forms |= {repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(clean, safe="")}
        forms.add(json.dumps(secret, ensure_ascii=False)[1:-1])
    return sorted((one for one in forms if len(one) >= SHORTEST), key=len, reverse=True)
