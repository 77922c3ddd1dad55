"""Whether code can read what is stored, as the executor would, without calling a body."""

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from taskplatform.client.outline import Reader
from taskplatform.core.json import Codec, describe

_NO_LIST = "it is no list, so that the map would fail"


def misfit(reader: Reader, stored: bytes) -> str | None:
    """Why a reader cannot read a stored value, without the value (it may be secret)."""
    if not reader.maps:
        return None if reader.codec is None else refusal(reader.codec, stored)
    elements = from_json(stored)
    if reader.field is not None:
        elements = elements.get(reader.field) if isinstance(elements, dict) else None
    if not isinstance(elements, list):
        return _NO_LIST
    if reader.codec is None:
        return None
    for element in elements:
        if (why := refusal(reader.codec, to_json(element))) is not None:
            return f"an item: {why}"
    return None


def refusal(codec: Codec, stored: bytes) -> str | None:
    """Why stored JSON does not fit a type; None: it does."""
    try:
        codec.decode(stored)
    except ValidationError as error:
        return describe(error)
    except ValueError as error:
        return str(error)
    return None
