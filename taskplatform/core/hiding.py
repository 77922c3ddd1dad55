"""Which parts of a value are secret: by type, by the name of their key, by what they look like."""

from collections.abc import Callable
from typing import Any

from pydantic import SecretBytes
from pydantic_core import PydanticSerializationError, from_json, to_json

from taskplatform.core import sealing
from taskplatform.core.json_limits import InvalidJson
from taskplatform.core.redaction import holds_a_secret
from taskplatform.core.secret_names import may_name_a_secret
from taskplatform.core.secret_schema import SECRET_TYPES, Declared


class _Hidden:
    """A secret part of a plain JSON value; there may be others in it."""

    # No dataclass: Pydantic would write one without asking.
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def revealed(data: bytes, value: Any) -> bytes:
    """The JSON as Pydantic wrote it, with the values that it hid.

    `value` is what was written, in plain Python. Raises InvalidJson.
    """
    return to_json(_without(_revealed(from_json(data), value, "$"), _clear))


def hidden(data: bytes, value: Any, declared: Declared) -> bytes:
    """The JSON with its secrets sealed. `value` as in `revealed`, if there are secret types.

    Raises InvalidJson, and NoSecretKey if there is a secret and no key.
    """
    looks = holds_a_secret(data)
    if not looks and not declared.secret and not declared.types:
        if not declared.free:
            return data
        if sealing.SEALED not in data and not may_name_a_secret(data):
            return data
    if sealing.SEALED in data and _has_sealed(from_json(data)):
        raise InvalidJson("has the key '$sealed', which is the platform's own: rename it")
    content = from_json(data)
    if declared.types:
        content = _revealed(content, value, "$")
    return to_json(_without(_marked(content, declared, looks), _sealed))


def texts_of(value: Any, declared: Declared) -> set[str]:
    """The secret texts in what somebody gave, valid or not: JSON, a model or plain values."""
    try:
        content = from_json(value if isinstance(value, bytes) else to_json(value, fallback=str))
    except (ValueError, TypeError, RecursionError, PydanticSerializationError):
        return set()
    found: set[str] = set()
    _without(
        _marked(content, declared, looks=True), lambda one: found.update(sealing.texts(_clear(one)))
    )
    return found


def _revealed(node: Any, value: Any, path: str) -> Any:
    """The JSON node with the secrets that stand in the same places of the Python value."""
    if isinstance(value, SECRET_TYPES):
        return _Hidden(_plain(value, path))
    if isinstance(node, dict) and isinstance(value, dict):
        # By their order: a key may be a number here and text there.
        return {
            key: _revealed(one, other, f"{path}.{key[:60]}")
            for (key, one), other in zip(node.items(), value.values(), strict=False)
        }
    if isinstance(node, list) and isinstance(value, list | tuple | set | frozenset):
        pairs = enumerate(zip(node, value, strict=False))
        return [_revealed(one, other, f"{path}[{index}]") for index, (one, other) in pairs]
    return node


def _plain(secret: Any, path: str) -> Any:
    value = secret.get_secret_value()
    try:
        if isinstance(secret, SecretBytes):
            return value.decode()
        return from_json(to_json(value))
    except UnicodeDecodeError:
        raise InvalidJson(
            f"{path} has secret bytes that are no UTF-8: give them as text, such as base64"
        ) from None
    except (ValueError, PydanticSerializationError):
        raise InvalidJson(f"{path} is a secret of a type that JSON cannot hold") from None


def _marked(node: Any, declared: Declared, looks: bool) -> Any:
    if isinstance(node, dict):
        return {
            key: _whole(one) if declared.hides(key) else _marked(one, declared, looks)
            for key, one in node.items()
        }
    if isinstance(node, list):
        return [_marked(one, declared, looks) for one in node]
    if looks and isinstance(node, str) and holds_a_secret(node.encode("utf-8", "replace")):
        return _Hidden(node)
    return node


def _whole(node: Any) -> Any:
    """All that stands under a secret's key; of a list every element, since a map may go over it."""
    if isinstance(node, list):
        return [_whole(one) for one in node]
    if node is None or isinstance(node, bool | _Hidden) or node in ("", {}):
        return node
    return _Hidden(node)


def _has_sealed(node: Any) -> bool:
    if isinstance(node, dict):
        return "$sealed" in node or any(map(_has_sealed, node.values()))
    return isinstance(node, list) and any(map(_has_sealed, node))


def _without(node: Any, put: Callable[[_Hidden], Any]) -> Any:
    """The node with something else in the places of what is hidden."""
    if isinstance(node, _Hidden):
        return put(node)
    if isinstance(node, dict):
        return {key: _without(one, put) for key, one in node.items()}
    return [_without(one, put) for one in node] if isinstance(node, list) else node


def _clear(one: _Hidden) -> Any:
    return _without(one.value, _clear)


def _sealed(one: _Hidden) -> Any:
    return sealing.seal(_clear(one))
