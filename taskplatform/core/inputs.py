"""A pipeline's input: validation, storage, and the options that are read out of it."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

from taskplatform.core.fields import text_of
from taskplatform.core.json import Codec, InvalidJson
from taskplatform.core.json_limits import check_size
from taskplatform.core.names import near
from taskplatform.core.redaction import SHOWN, redact
from taskplatform.core.sealing import SEALED, secrets_in
from taskplatform.errors import DeclarationError, InvalidInput

Key = str | Callable[[Any], object]

_LEAST, _GREATEST = -(2**31), 2**31 - 1


class Inputs:
    """What a pipeline accepts."""

    def __init__(
        self,
        pipeline: str,
        model: type[BaseModel],
        *,
        key: Key | None,
        owner: str | None,
        priority: str | None,
        force: str | None,
        fair_key: Key | bool | None = None,
    ) -> None:
        """The options are fields of the model; the keys may be functions of it."""
        self._pipeline = pipeline
        self._model = model
        self._key = key
        self._fair_key = fair_key
        self._fields: dict[str, object] = {"owner": owner, "priority": priority, "force": force}
        self._owner, self._priority, self._force = owner, priority, force
        self._codec: Codec | None = None

    @property
    def codec(self) -> Codec:
        """The model on its way to JSON and back; built at first use, for forward references.

        Raises DeclarationError.
        """
        if self._codec is None:
            try:
                self._codec = Codec(self._model)
            except (PydanticUserError, NameError) as error:
                raise DeclarationError(
                    f"pipeline '{self._pipeline}': its input {self._model.__qualname__} cannot be "
                    f"validated ({str(error).partition('. ')[0]}): use plain types in it"
                ) from None
        return self._codec

    def problems(self) -> list[str]:
        """What is wrong with the options."""
        try:
            _ = self.codec
        except DeclarationError as error:
            return [str(error).partition(": ")[2]]
        found = self.field_problems("key", self._key)
        if self._fair_key is True:
            found.append("fair_key=True: give a field of the input or a function of it")
        elif self._fair_key is not False:
            found += self.field_problems("fair_key", self._fair_key)
        for option, field in self._fields.items():
            if callable(field):
                found.append(f"{option}={field!r}: give the name of a field of the input")
            found += self.field_problems(option, field)
        return found

    def field_problems(self, option: str, field: object) -> list[str]:
        """What is wrong with an option that names a field, or is a function of the input."""
        if field is None or callable(field):
            return []
        if not isinstance(field, str):
            return [f"{option}={field!r}: give a field of the input or a function of it"]
        known = {**self._model.model_fields, **self._model.model_computed_fields}
        if field in known or isinstance(getattr(self._model, field, None), property):
            return self._secret_problems(option, field)
        return [
            f"{option}='{field}' is no field of {self._model.__qualname__} "
            f"({', '.join(known) or 'it has none'}){near(field, known)}"
        ]

    def _secret_problems(self, option: str, field: str) -> list[str]:
        try:
            hidden = self.codec.declared.hides(field)
        except DeclarationError:
            return []
        if not hidden:
            return []
        return [
            f"{option}='{field}' is a secret, by its type or its name, and would be shown: take "
            "another field, or say that it is none with Annotated[..., NotSecret()]"
        ]

    def accept(self, value: object, *, stored: bool = False) -> tuple[bytes, Any]:
        """Validate an input; its canonical JSON, and what a step will read.

        `stored` bytes were written by the platform: their secrets are sealed.
        Raises InvalidInput, NoSecretKey and CannotOpen.
        """
        given = value
        try:
            if isinstance(value, bytes):
                check_size(value)
                value = self.codec.decode(value) if stored else self.codec.read(value)
            data, model = self.codec.round_trip(value)
        except ValidationError as error:
            reason = self.codec.describe(error, given)
        except InvalidJson as error:
            reason = str(error)
        else:
            if stored or SEALED not in data or SHOWN not in secrets_in(data, shortest=1):
                return data, model
            reason = f"a secret of it is {SHOWN!r}, which is how secrets are shown: give its value"
        raise InvalidInput(f"the input of pipeline '{self._pipeline}' is invalid: {reason}")

    def key_of(self, input: Any) -> str | None:
        """The business key."""
        return None if self._key is None else self._text("key", self._key, input)

    @property
    def is_fair(self) -> bool:
        """Whether its runs share a queue fairly with others: by a fair key, or by their owner."""
        if self._fair_key is None:
            return self._owner is not None
        return self._fair_key is not False

    def fair_key_of(self, input: Any, owner: str | None) -> str | None:
        """Who shares a queue with others by this run: the owner, unless something else is said."""
        if self._fair_key is None:
            return None if self._owner is None else owner
        if isinstance(self._fair_key, bool):
            return None
        return self._text("fair_key", self._fair_key, input)

    def _text(self, option: str, key: Key, input: Any) -> str | None:
        value = getattr(input, key) if isinstance(key, str) else key(input)
        what = f"pipeline '{self._pipeline}': {option}"
        text = text_of(value, what)
        if text and callable(key) and redact(text, self._secrets(input)) != text:
            raise InvalidInput(f"{what} has a secret of the input in it, and would be shown")
        return text

    def owner_of(self, input: Any) -> str | None:
        """The owner."""
        if self._owner is None:
            return None
        value = getattr(input, self._owner)
        return text_of(value, f"pipeline '{self._pipeline}': owner '{self._owner}'")

    def priority_of(self, input: Any) -> int:
        """The priority, within what an integer of Postgres holds."""
        value = None if self._priority is None else getattr(input, self._priority)
        if value is None:
            return 0
        if not isinstance(value, int):
            what = f"pipeline '{self._pipeline}': priority '{self._priority}'"
            raise InvalidInput(f"{what} is a {type(value).__name__}; give a whole number")
        return max(_LEAST, min(int(value), _GREATEST))

    def _secrets(self, input: Any) -> tuple[str, ...]:
        declared = self.codec.declared
        if not (declared.secret or declared.free):
            return ()
        return secrets_in(self.codec.encode(input))

    def force_of(self, input: Any) -> bool:
        """Whether to force a run."""
        return self._force is not None and bool(getattr(input, self._force))
