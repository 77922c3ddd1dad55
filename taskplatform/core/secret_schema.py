"""What a type declares of secrets, by its core schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import Secret, SecretBytes, SecretStr, TypeAdapter

from taskplatform.core.secret_names import is_secret_name

SECRET_TYPES = (SecretStr, SecretBytes, Secret)
_MARK = "taskplatform_secret"
# Where anything may stand, keys too.
_FREE = frozenset({"any", "dict", "function-plain", "function-wrap", "json", "callable", "custom"})
_FIELDS = frozenset({"model-field", "typed-dict-field", "dataclass-field", "computed-field"})


class NotSecret:
    """Marks a field that is named like a secret and is none: `Annotated[str, NotSecret()]`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Leave the mark where the platform finds it."""
        schema = dict(handler(source))
        schema["metadata"] = {**schema.get("metadata", {}), _MARK: False}
        return schema


@dataclass(frozen=True, slots=True)
class Declared:
    """The fields that are secret, those that are named so and are not, and what else there is.

    `types`: some value is of one of Pydantic's secret types. `free`: there may be keys of any
    name.
    """

    secret: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()
    types: bool = False
    free: bool = False

    def hides(self, name: str) -> bool:
        """Whether what stands under that key is a secret."""
        return name in self.secret or (name not in self.public and is_secret_name(name))


NOTHING = Declared()


def declared(schema: Any) -> Declared:
    """Read a core schema."""
    nodes = list(_nodes(schema))
    by_ref = {node["ref"]: node for node in nodes if "ref" in node}
    secret, public = set(), set()
    for name, node in _named(nodes):
        field = node.get("schema") or node.get("return_schema") or {}
        if _marked_public(field, by_ref):
            public.add(name)
            continue
        spoken = (name, node.get("alias"), node.get("validation_alias"))
        if any(isinstance(one, str) and is_secret_name(one) for one in spoken) or any(
            map(_is_secret_type, _nodes(field, by_ref))
        ):
            secret.add(name)
    return Declared(
        frozenset(secret),
        frozenset(public - secret),
        types=any(map(_is_secret_type, nodes)),
        free=any(map(_is_free, nodes)),
    )


def _named(nodes: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for node in nodes:
        fields = node.get("fields")
        if isinstance(fields, dict):
            for name, field in fields.items():
                if isinstance(field, dict) and field.get("type") in _FIELDS:
                    yield name, field
        if node.get("type") == "dataclass-field":
            yield node["name"], node
        elif node.get("type") == "computed-field":
            yield node["property_name"], node


def _nodes(schema: Any, by_ref: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The parts of a schema; with `by_ref` only those of one field, and not of fields in it."""
    stack, seen = [schema], set()
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if id(node) in seen:
                continue
            seen.add(id(node))
            if not isinstance(node.get("type"), str):
                # Fields or choices by their names.
                stack += node.values()
                continue
            if by_ref is not None:
                if node.get("type") in _FIELDS:
                    continue
                stack.append(by_ref.get(node.get("schema_ref", ""), None))
            yield node
            stack += [one for key, one in node.items() if key != "metadata"]
        elif isinstance(node, list | tuple):
            stack += node


def _is_free(node: dict[str, Any]) -> bool:
    extra = node.get("extra_behavior") or node.get("config", {}).get("extra_fields_behavior")
    return node["type"] in _FREE or extra == "allow"


def _marked_public(field: Any, by_ref: dict[str, Any]) -> bool:
    return any(node.get("metadata", {}).get(_MARK) is False for node in _nodes(field, by_ref))


def _is_secret_type(node: dict[str, Any]) -> bool:
    written = node.get("serialization")
    return isinstance(written, dict) and written.get("function") in _serializers()


@cache
def _serializers() -> tuple[Any, ...]:
    """What Pydantic writes its secret types with, which is what tells them from others."""
    found = []
    for kind in (SecretStr, SecretBytes, Secret[int]):
        for node in _nodes(TypeAdapter(kind).core_schema):
            written = node.get("serialization")
            if isinstance(written, dict) and "function" in written:
                found.append(written["function"])
    return tuple(found)
