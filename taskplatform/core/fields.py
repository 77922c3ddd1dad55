"""Reading keys, owners and scopes out of an input."""

from datetime import date
from decimal import Decimal
from enum import Enum
from uuid import UUID

from taskplatform.core.redaction import holds_a_secret
from taskplatform.errors import InvalidInput

# Four bytes a character at most: below what a B-tree entry of Postgres holds.
_LONGEST = 512
_READABLE = (str, int, UUID, date, Decimal)


def text_of(value: object, what: str) -> str | None:
    """A key, an owner or a scope as text; None stays None.

    Raises InvalidInput for what is no single value, empty, too long or not storable.
    """
    if value is None:
        return None
    if isinstance(value, Enum):
        value = value.value
    if not isinstance(value, _READABLE):
        raise InvalidInput(f"{what} is a {type(value).__name__}; give a text or a number")
    text = str(value)
    if not text:
        raise InvalidInput(f"{what} is empty; give a text, or None for none")
    if len(text) > _LONGEST:
        raise InvalidInput(f"{what} has {len(text)} characters; the limit is {_LONGEST}")
    if holds_a_secret(text.encode(errors="replace")):
        raise InvalidInput(f"{what} has a password in it, such as that of a URL: leave it out")
    try:
        nul = b"\0" in text.encode()
    except UnicodeEncodeError:
        nul = True
    if nul:
        raise InvalidInput(f"{what} has U+0000 or half of a surrogate pair, which is no text")
    return text
