"""From a function's signature to what each parameter is given."""

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from taskplatform.core.context import Context
from taskplatform.core.json import Codec
from taskplatform.core.names import near, parameter_name

# For maps, which bind one item and its index.
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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a step's parameters may refer to: the pipeline's input and its steps by position."""

    input: type[BaseModel]
    input_names: Sequence[str]
    steps: Sequence[str]
    position: int


def bind(function: Callable[..., Any], around: Surroundings, problems: list[str]) -> Bound | None:
    """Resolve a step's signature; what is wrong, and its remedy, is added to `problems`."""
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
        if (binding := _binding(parameter, hints, around, problems)) is not None
    ]
    if "return" not in hints:
        problems.append("its return annotation is missing: add '-> Model' (or '-> None')")
        return None
    output = _codec(hints["return"], "its return annotation", problems)
    return Bound(tuple(bindings), output) if output and len(problems) == known else None


def _binding(
    parameter: inspect.Parameter,
    hints: dict[str, Any],
    around: Surroundings,
    problems: list[str],
) -> Binding | None:
    name = parameter.name
    if stars := _VARIADIC.get(parameter.kind):
        problems.append(f"parameter '{stars}{name}': name each output that the step needs")
    elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        problems.append(f"parameter '{name}' is positional-only: remove the '/'")
    elif name in RESERVED_FOR_MAPS:
        problems.append(
            f"parameter '{name}' is reserved for steps that are mapped over items: rename it"
        )
    elif name not in hints:
        problems.append(f"parameter '{name}' has no annotation: add its type")
    elif name in around.input_names:
        return _input(name, hints[name], around, problems)
    elif name == "ctx":
        if hints[name] is Context:
            return Binding(name, Source.CONTEXT)
        problems.append("parameter 'ctx' is always the Context: annotate it 'ctx: Context'")
    else:
        return _output(name, hints[name], around, problems)
    return None


def _input(name: str, hint: Any, around: Surroundings, problems: list[str]) -> Binding | None:
    if hint is around.input:
        return Binding(name, Source.INPUT)
    problems.append(
        f"parameter '{name}' is annotated {_shown(hint)}, but the pipeline's input is "
        f"{_shown(around.input)}: use that"
    )
    return None


def _output(name: str, hint: Any, around: Surroundings, problems: list[str]) -> Binding | None:
    producers = {parameter_name(step): index for index, step in enumerate(around.steps)}
    index = producers.get(name)
    if index is None:
        earlier = [one for one, at in producers.items() if at < around.position]
        hint_at = near(name, [*earlier, *around.input_names, "ctx"])
        if hint is around.input:
            hint_at = f"; the pipeline's input is bound to '{around.input_names[0]}'"
        problems.append(
            f"parameter '{name}' is neither '{around.input_names[0]}', 'ctx' nor an earlier step"
            f" ({', '.join(earlier) or 'there is none'}){hint_at}"
        )
    elif index == around.position:
        problems.append(f"parameter '{name}' is the step's own output: it has none yet")
    elif index > around.position:
        problems.append(
            f"parameter '{name}' is the output of step '{around.steps[index]}', which is declared "
            f"later (the order is {', '.join(around.steps)}): declare it before this step"
        )
    elif codec := _codec(hint, f"the annotation of parameter '{name}'", problems):
        return Binding(name, Source.OUTPUT, around.steps[index], codec)
    return None


def _codec(hint: Any, what: str, problems: list[str]) -> Codec | None:
    try:
        codec = Codec(type(None) if hint is None else hint)
    except (PydanticUserError, NameError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        problems.append(
            f"{what}, {_shown(hint)}, cannot be validated as JSON ({reason}): "
            "use a Pydantic model or plain types"
        )
        return None
    if codec.adapter.core_schema["type"] == "generator":
        problems.append(f"{what}, {_shown(hint)}, is consumed by reading it: use a list")
        return None
    return codec


def _shown(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint)
