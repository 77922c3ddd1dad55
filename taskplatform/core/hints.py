"""Annotations, and the codecs that are made of them."""

from typing import Any

from pydantic.errors import PydanticUserError

from taskplatform.core.json import Codec


def codec_of(hint: Any, what: str, problems: list[str]) -> Codec | None:
    """The codec of an annotation; what is wrong, and its remedy, is added to `problems`."""
    try:
        codec = Codec(type(None) if hint is None else hint)
    except (PydanticUserError, NameError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        problems.append(
            f"{what}, {shown(hint)}, cannot be validated as JSON ({reason}): "
            "use a Pydantic model or plain types"
        )
        return None
    if codec.adapter.core_schema["type"] == "generator":
        problems.append(f"{what}, {shown(hint)}, is consumed by reading it: use a list")
        return None
    return codec


def shown(hint: Any) -> str:
    """An annotation as people wrote it, or nearly so."""
    return hint.__qualname__ if isinstance(hint, type) else str(hint)
