"""From a function's signature to what each parameter is given."""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from taskplatform.core.context import Context
from taskplatform.core.hints import codec_of, shown
from taskplatform.core.json import Codec
from taskplatform.core.names import near
from taskplatform.core.outputs import UNKNOWN, bare
from taskplatform.core.over import Items
from taskplatform.core.surroundings import Surroundings

RESERVED_FOR_MAPS = ("item", "index")
_VARIADIC: dict[object, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


class Source(Enum):
    """Where a parameter's value comes from."""

    INPUT = auto()
    CONTEXT = auto()
    OUTPUT = auto()
    ITEM = auto()
    INDEX = auto()


@dataclass(frozen=True, slots=True)
class Binding:
    """One parameter of a step; `step` and `codec` say whose output it is, read as what."""

    name: str
    source: Source
    step: str = ""
    codec: Codec | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """A function's parameters and its output."""

    bindings: tuple[Binding, ...]
    output: Codec


def bind(
    function: Callable[..., Any],
    around: Surroundings,
    problems: list[str],
    items: Items | None = None,
) -> Bound | None:
    """Resolve a step's signature; what is wrong, and its remedy, is added to `problems`.

    `items` are those of a map.
    """
    known = len(problems)
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        problems.append(
            f"an annotation cannot be resolved ({error}): import the name in the function's "
            "module, not under TYPE_CHECKING only"
        )
        return None
    except (TypeError, ValueError) as error:
        problems.append(f"its signature cannot be read ({error}): declare a plain function")
        return None
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        problems.append("it is a generator: return a list instead of yielding")
        return None
    bindings = [
        binding
        for parameter in signature.parameters.values()
        if (binding := _binding(parameter, hints, around, items, problems)) is not None
    ]
    if "return" not in hints:
        problems.append("its return annotation is missing: add '-> Model' (or '-> None')")
        return None
    output = codec_of(hints["return"], "its return annotation", problems)
    return Bound(tuple(bindings), output) if output and len(problems) == known else None


def _binding(
    parameter: inspect.Parameter,
    hints: dict[str, Any],
    around: Surroundings,
    items: Items | None,
    problems: list[str],
) -> Binding | None:
    name = parameter.name
    if stars := _VARIADIC.get(parameter.kind):
        problems.append(f"parameter '{stars}{name}': name each output that the step needs")
    elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        problems.append(f"parameter '{name}' is positional-only: remove the '/'")
    elif name in RESERVED_FOR_MAPS and items is None:
        problems.append(
            f"parameter '{name}' is reserved for steps that are mapped over items: rename it, or "
            "declare the step with .map(over=...)"
        )
    elif name not in hints:
        problems.append(f"parameter '{name}' has no annotation: add its type")
    elif name == "index":
        if hints[name] is int:
            return Binding(name, Source.INDEX)
        problems.append("parameter 'index' is the item's place, from 0: annotate it 'index: int'")
    elif name == "item" and items is not None:
        return _item(hints[name], items, problems)
    elif name in around.input_names:
        return _input(name, hints[name], around, problems)
    elif name == "ctx":
        if hints[name] is Context:
            return Binding(name, Source.CONTEXT)
        problems.append("parameter 'ctx' is always the Context: annotate it 'ctx: Context'")
    else:
        return _output(name, hints[name], around, problems)
    return None


def _item(hint: Any, items: Items, problems: list[str]) -> Binding | None:
    if items.hint is not UNKNOWN and bare(hint) != bare(items.hint):
        problems.append(
            f"parameter 'item' is annotated {shown(hint)}, but the items of '{items.over}' are "
            f"{shown(items.hint)}: use that"
        )
        return None
    codec = codec_of(hint, "the annotation of parameter 'item'", problems)
    return None if codec is None else Binding("item", Source.ITEM, codec=codec)


def _input(name: str, hint: Any, around: Surroundings, problems: list[str]) -> Binding | None:
    if hint == around.expected:
        return Binding(name, Source.INPUT)
    problems.append(
        f"parameter '{name}' is annotated {shown(hint)}, but the pipeline's input is "
        f"{shown(around.expected)}: use that"
    )
    return None


def _output(name: str, hint: Any, around: Surroundings, problems: list[str]) -> Binding | None:
    output = around.find(name)
    if output is None:
        hint_at = near(name, [*around.before, *around.input_names, "ctx"])
        if hint is around.input:
            hint_at = f"; the pipeline's input is bound to '{around.input_names[0]}'"
        problems.append(
            f"parameter '{name}' is neither '{around.input_names[0]}', 'ctx' nor an earlier step"
            f" ({', '.join(around.before) or 'there is none'}){hint_at}"
        )
    elif isinstance(output, str):
        problems.append(f"parameter '{name}' {output}")
    elif codec := codec_of(hint, f"the annotation of parameter '{name}'", problems):
        if misfit := output.misfit(shown(hint), codec):
            problems.append(f"parameter '{name}' {misfit}")
            return None
        return Binding(name, Source.OUTPUT, output.step, codec)
    return None
