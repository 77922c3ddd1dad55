"""What the steps of a pipeline give to later ones, and whether an annotation can take it."""

import collections.abc
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ValidationError

from taskplatform.core.draft import Draft
from taskplatform.core.item_error import ItemError
from taskplatform.core.json import Codec
from taskplatform.core.shapes import Kind

# For an annotation that is missing, wrong (which is said elsewhere), or another pipeline's.
UNKNOWN = Any
_ORDERED = (list, collections.abc.Sequence, collections.abc.MutableSequence)
_AN_ERROR = b'[{"index":0,"type":"ValueError","message":""}]'
# A list may be asked for that has elements, or be checked by the application.
_OF_THE_VALUE = ("too_short", "value_error", "assertion_error")


class NoList(Exception):
    """The annotation is of something that has no elements in order."""


@dataclass(frozen=True, slots=True)
class Output:
    """The output of one declared step, as an annotation."""

    step: str
    kind: Kind
    group: str | None
    hint: Any
    may_time_out: bool = False
    collects: bool = False

    def misfit(self, shown: str, codec: Codec) -> str | None:
        """Why a parameter of this annotation cannot take it, with the remedy; None: it can."""
        if self.kind is Kind.SLEEP and not _takes(codec, b"null"):
            return "is a sleep, which has no output: annotate it None, or leave it out"
        if self.may_time_out and not _takes(codec, b"null"):
            return (
                f"is a wait that may time out: annotate it '{shown} | None', "
                "or give the wait on_timeout='fail'"
            )
        if self.kind is Kind.MAP and not _takes(codec, b"[]", _OF_THE_VALUE):
            return f"is the list of a map's outputs: annotate it 'list[{shown}]'"
        if self.collects and not _takes(codec, _AN_ERROR, _OF_THE_VALUE):
            return (
                "is a list in which on_item_error='collect' may leave errors: annotate it "
                "'list[... | ItemError]'"
            )
        return None


def output_of(draft: Draft) -> Output:
    """What a step gives, as far as its own declaration says."""
    hint: Any = UNKNOWN
    if draft.kind is Kind.SLEEP:
        hint = type(None)
    elif draft.kind is Kind.WAIT:
        hint = dict[str, Any] if draft.model is None else draft.model
        hint = hint | None if draft.may_time_out else hint
    elif draft.kind is Kind.BODY:
        hint = returned(draft.function)
    elif draft.kind is Kind.MAP:
        hint = collected(returned(draft.function), draft.collects)
    return Output(draft.name, draft.kind, draft.group, hint, draft.may_time_out, draft.collects)


def collected(element: Any, with_errors: bool) -> Any:
    """The annotation of the list that a map's outputs become."""
    if element is UNKNOWN:
        return list
    return list[element | ItemError] if with_errors else list[element]


def element_of(hint: Any) -> Any:
    """The annotation of the elements of a list.

    Raises NoList.
    """
    hint = bare(hint)
    if hint is UNKNOWN:
        return UNKNOWN
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in _ORDERED:
        return arguments[0] if arguments else UNKNOWN
    if origin is tuple and (not arguments or arguments[1:] == (...,)):
        return arguments[0] if arguments else UNKNOWN
    raise NoList


def bare(hint: Any) -> Any:
    """An annotation without what is only annotated to it, and by no other name."""
    while True:
        if typing.get_origin(hint) is Annotated:
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__value__"):
            hint = hint.__value__
        else:
            return hint


def returned(function: Callable[..., Any] | None) -> Any:
    """What a function is annotated to return, as far as it can be resolved."""
    try:
        return typing.get_type_hints(function, include_extras=True).get("return", UNKNOWN)
    except (NameError, TypeError, ValueError):
        return UNKNOWN


def _takes(codec: Codec, data: bytes, forgiven: tuple[str, ...] = ()) -> bool:
    try:
        codec.decode(data)
    except ValidationError as error:
        return all(one["type"] in forgiven for one in error.errors())
    except Exception:
        # A validator of the application that expects another value.
        return bool(forgiven)
    return True
