"""Values to canonical JSON and back: compact, UTF-8, in field order, safe to store in Postgres.

Secrets are sealed in it.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from taskplatform.core.hiding import hidden, revealed, texts_of
from taskplatform.core.json_limits import (
    DEEPEST,
    LARGEST,
    InvalidJson,
    check_bytes,
    check_size,
    check_survives,
    non_finite,
    surrogate,
)
from taskplatform.core.redaction import redact
from taskplatform.core.sealing import SEALED, opened, secrets_in
from taskplatform.core.secret_schema import NOTHING, Declared, declared

__all__ = ["DEEPEST", "LARGEST", "Codec", "InvalidJson", "describe", "encode"]

_SHOWN_ERRORS = 5
# In text as short as that one search for all that needs a closer look, or must not be stored, costs
# a quarter of a search for each; in longer text it costs more.
_SHORT = 64
_ODD = re.compile(rb"[@=\\]|null|NaN|Infinity|earer ")


class Codec:
    """One type on its way to JSON and back.

    Fields go by their names, not by their aliases, so that what was written can be read.
    """

    __slots__ = ("_loose", "_open", "_read", "_typed", "_write", "adapter", "declared", "model")

    def __init__(
        self,
        annotation: Any,
        adapter: TypeAdapter[Any] | None = None,
        secret: Iterable[str] = (),
    ) -> None:
        """`secret` names fields that are secret wherever they stand.

        Raises pydantic's errors if the annotation is nothing it can validate.
        """
        self.adapter = TypeAdapter(annotation) if adapter is None else adapter
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        self.model = annotation if is_model else None
        self._loose = _holds_anything(self.adapter.core_schema)
        self.declared = declared(self.adapter.core_schema)
        if secret:
            own = self.declared
            self.declared = replace(own, secret=own.secret | frozenset(secret))
        # A type without secrets, whose keys are all known, costs no look into its values.
        self._open = self.declared != NOTHING
        self._typed = self.declared.types
        self._write = self.adapter.serializer.to_json
        self._read = self.adapter.validator.validate_json

    def decode(self, data: bytes) -> Any:
        """Validate stored JSON into the type, with its secrets.

        Raises pydantic's ValidationError, and CannotOpen.
        """
        # To look for one byte costs next to nothing.
        if b"$" in data and SEALED in data:
            data = opened(data)
        return self._read(data, by_alias=True, by_name=True)

    def read(self, data: bytes) -> Any:
        """Validate JSON from outside into the type; nothing in it is taken for sealed.

        Raises pydantic's ValidationError.
        """
        return self._read(data, by_alias=True, by_name=True)

    def encode(self, value: Any) -> bytes:
        """Validate a value against the type and write it.

        Raises InvalidJson, and NoSecretKey.
        """
        return self.round_trip(value)[0]

    def round_trip(self, value: Any) -> tuple[bytes, Any]:
        """Validate a value and write it; also what a reader of those bytes gets.

        Reading back is the validation that counts: it sees instances that were made or
        changed behind the model's back, and it is what the next step will do. Raises
        InvalidJson, and NoSecretKey if there is a secret and no key.
        """
        if (both := self._written_and_read(value)) is not None:
            return both
        try:
            if type(value) is not self.model:
                value = self.adapter.validator.validate_python(value, by_alias=True, by_name=True)
            data = self._write(value, by_alias=False, warnings="error")
        except ValidationError as error:
            raise InvalidJson(self.describe(error, value)) from None
        except (ValueError, RecursionError) as error:
            raise InvalidJson(self._why_unwritable(value, error)) from None
        check_bytes(data)
        written = None
        if self._typed:
            written = self._plain(value)
            data = revealed(data, written)
            check_bytes(data)
        try:
            restored = self._read(data, by_alias=True, by_name=True)
        except ValidationError as error:
            data, restored = self._round_trip_without_computed(value, error)
            written = self._plain(value, round_trip=True) if self._typed else None
        if value is not None and (self._loose or b"null" in data):
            before, after = self._plain(value), self._plain(restored)
            if before != after:
                check_survives(before, after)
        if self._open or b"@" in data or b"=" in data or data.find(b"earer ") >= 0:
            data = hidden(data, written, self.declared)
            check_size(data)
        return data, restored

    def _written_and_read(self, value: Any) -> tuple[bytes, Any] | None:
        """Both, if what was read writes the same: then nothing in the value was out of place.

        None also where there is more to be looked at, or to be said.
        """
        if self._open or self._loose or type(value) is not self.model:
            return None
        try:
            # That it complains costs more than all else; what it would complain about either
            # cannot be read, or is written differently once it has been.
            data = self._write(value, by_alias=False, warnings=False)
            restored = self._read(data, by_alias=True, by_name=True)
            if data != self._write(restored, by_alias=False, warnings=False):
                return None
        except (ValueError, RecursionError):
            return None
        if len(data) <= _SHORT:
            return None if _ODD.search(data) else (data, restored)
        check_bytes(data)
        if b"null" in data or b"@" in data or b"=" in data or b"earer " in data:
            return None
        return data, restored

    def describe(self, error: ValidationError, value: Any) -> str:
        """Like `describe`, of what was given: none of its secrets is in the text."""
        stored = secrets_in(value) if isinstance(value, bytes) else ()
        return redact(describe(error, self.declared), {*texts_of(value, self.declared), *stored})

    def _round_trip_without_computed(self, value: Any, error: ValidationError) -> tuple[bytes, Any]:
        try:
            data = self._write(value, by_alias=False, warnings="error", round_trip=True)
            if self._typed:
                data = revealed(data, self._plain(value, round_trip=True))
            check_bytes(data)
            return data, self.read(data)
        except ValueError:
            if place := non_finite(self._plain(value)):
                message = f"{place} is NaN or infinite, which JSON does not have"
                raise InvalidJson(message) from None
            raise InvalidJson(self.describe(error, value)) from None

    def _plain(self, value: Any, round_trip: bool = False) -> Any:
        return self.adapter.serializer.to_python(
            value, by_alias=False, warnings="none", round_trip=round_trip
        )

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


def describe(error: ValidationError, declared: Declared = NOTHING) -> str:
    """Say which fields are wrong and why, without their values (they may be secret)."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [
        f"{'.'.join(map(str, one['loc'])) or '$'}: {_reason(one, declared)}"
        for one in errors[:_SHOWN_ERRORS]
    ]
    if len(errors) > _SHOWN_ERRORS:
        lines.append(f"and {len(errors) - _SHOWN_ERRORS} more")
    return "; ".join(lines)


def _reason(error: ErrorDetails, declared: Declared) -> str:
    # The application's own words may repeat the value.
    own = error["type"] in ("value_error", "assertion_error") or "." in error["type"]
    if own and any(isinstance(one, str) and declared.hides(one) for one in error["loc"]):
        return "is not accepted; why is not told, since it is a secret"
    return error["msg"]


def _holds_anything(schema: Any) -> bool:
    """Whether some place of the type takes any value, so that JSON may change it silently."""
    stack, seen = [schema], set()
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if id(node) in seen:
                continue
            seen.add(id(node))
            extra = node.get("extra_behavior") or node.get("extra_fields_behavior")
            if node.get("type") == "any" or extra == "allow":
                return True
            stack += node.values()
        elif isinstance(node, list | tuple):
            stack += node
    return False
