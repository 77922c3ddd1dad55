"""Values to canonical JSON and back: compact, UTF-8, in field order, safe to store in Postgres."""

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from taskplatform.core.json_limits import (
    DEEPEST,
    LARGEST,
    InvalidJson,
    check_bytes,
    check_survives,
    non_finite,
    surrogate,
)

__all__ = ["DEEPEST", "LARGEST", "Codec", "InvalidJson", "describe", "encode"]

_SHOWN_ERRORS = 5


class Codec:
    """One type on its way to JSON and back.

    Fields go by their names, not by their aliases, so that what was written can be read.
    """

    __slots__ = ("_exact", "_loose", "_read", "_write", "adapter")

    def __init__(self, annotation: Any, adapter: TypeAdapter[Any] | None = None) -> None:
        """Raises pydantic's errors if the annotation is nothing it can validate."""
        self.adapter = TypeAdapter(annotation) if adapter is None else adapter
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        self._exact = annotation if is_model else None
        self._loose = _holds_anything(self.adapter.core_schema)
        self._write = self.adapter.serializer.to_json
        self._read = self.adapter.validator.validate_json

    def decode(self, data: bytes) -> Any:
        """Validate stored JSON into the type.

        Raises pydantic's ValidationError.
        """
        return self._read(data, by_alias=True, by_name=True)

    def encode(self, value: Any) -> bytes:
        """Validate a value against the type and write it.

        Raises InvalidJson.
        """
        return self.round_trip(value)[0]

    def round_trip(self, value: Any) -> tuple[bytes, Any]:
        """Validate a value and write it; also what a reader of those bytes gets.

        Reading back is the validation that counts: it sees instances that were made or
        changed behind the model's back, and it is what the next step will do. Raises
        InvalidJson.
        """
        try:
            if type(value) is not self._exact:
                value = self.adapter.validator.validate_python(value, by_alias=True, by_name=True)
            data = self._write(value, by_alias=False, warnings="error")
        except ValidationError as error:
            raise InvalidJson(describe(error)) from None
        except (ValueError, RecursionError) as error:
            raise InvalidJson(self._why_unwritable(value, error)) from None
        check_bytes(data)
        try:
            restored = self.decode(data)
        except ValidationError as error:
            data, restored = self._round_trip_without_computed(value, error)
        if value is not None and (self._loose or b"null" in data):
            before, after = self._plain(value), self._plain(restored)
            if before != after:
                check_survives(before, after)
        return data, restored

    def _round_trip_without_computed(self, value: Any, error: ValidationError) -> tuple[bytes, Any]:
        try:
            data = self._write(value, by_alias=False, warnings="error", round_trip=True)
            check_bytes(data)
            return data, self.decode(data)
        except ValueError:
            if place := non_finite(self._plain(value)):
                message = f"{place} is NaN or infinite, which JSON does not have"
                raise InvalidJson(message) from None
            raise InvalidJson(describe(error)) from None

    def _plain(self, value: Any) -> Any:
        return self.adapter.serializer.to_python(value, by_alias=False, warnings="none")

    def _why_unwritable(self, value: Any, error: Exception) -> str:
        text = str(error)
        if "id repeated" in text:
            return "refers to itself, which JSON cannot express"
        if "depth" in text or isinstance(error, RecursionError):
            return f"is nested deeper than {DEEPEST} levels"
        if "surrogates not allowed" in text:
            place = surrogate(self._plain(value)) or "$"
            return f"{place} has half of a surrogate pair, which is no text"
        return text


def encode(value: Any, adapter: TypeAdapter[Any]) -> bytes:
    """Validate a value with the adapter and write it as canonical JSON.

    Raises InvalidJson.
    """
    return _codec(adapter).encode(value)


@lru_cache(maxsize=1024)
def _codec(adapter: TypeAdapter[Any]) -> Codec:
    return Codec(None, adapter)


def describe(error: ValidationError) -> str:
    """Say which fields are wrong and why, without their values (they may be secret)."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [
        f"{'.'.join(map(str, one['loc'])) or '$'}: {one['msg']}" for one in errors[:_SHOWN_ERRORS]
    ]
    if len(errors) > _SHOWN_ERRORS:
        lines.append(f"and {len(errors) - _SHOWN_ERRORS} more")
    return "; ".join(lines)


def _holds_anything(schema: Any) -> bool:
    """Whether some place of the type takes any value, so that JSON may change it silently."""
    stack, seen = [schema], set()
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if id(node) in seen:
                continue
            seen.add(id(node))
            if node.get("type") == "any" or node.get("extra_behavior") == "allow":
                return True
            stack += node.values()
        elif isinstance(node, list | tuple):
            stack += node
    return False
