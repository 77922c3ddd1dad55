"""What a map is executed over: the elements of a field of the input, or of an earlier output."""

from dataclasses import dataclass
from typing import Any

from taskplatform.core.hints import shown
from taskplatform.core.names import near, parameter_name
from taskplatform.core.outputs import UNKNOWN, NoList, element_of
from taskplatform.core.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class Items:
    """Where a map's items come from, and the annotation of one."""

    over: str
    from_input: bool
    hint: Any = UNKNOWN


def items_of(over: object, around: Surroundings, problems: list[str]) -> Items:
    """Resolve `over=`; what is wrong, and its remedy, is added to `problems`."""
    if not isinstance(over, str):
        problems.append(
            f"over={over!r}: give the name of a field of the input or of an earlier step"
        )
        return Items("", from_input=True)
    field = around.input.model_fields.get(over)
    output = around.find(parameter_name(over))
    hint: Any = UNKNOWN
    if field is not None and output is not None:
        problems.append(
            f"over='{over}' is a field of {shown(around.input)} and the name of a step: rename "
            "the step"
        )
        return Items(over, from_input=True)
    if field is not None:
        hint, what = field.annotation, f"a field of {shown(around.input)}"
        if field.exclude:
            problems.append(f"over='{over}' is a field that is not stored: remove its exclude=True")
    elif output is None:
        known = [*around.input.model_fields, *around.before]
        fields = ", ".join(around.input.model_fields) or "it has none"
        steps = ", ".join(around.before) or "there is none"
        problems.append(
            f"over='{over}' is neither a field of {shown(around.input)} ({fields}) nor an earlier "
            f"step ({steps}){near(parameter_name(over), known)}"
        )
        return Items(over, from_input=True)
    elif isinstance(output, str):
        problems.append(f"over='{over}' {output}")
        return Items(over, from_input=False)
    else:
        over, hint, what = output.step, output.hint, "the output of that step"
    try:
        element = element_of(hint)
    except NoList:
        problems.append(
            f"over='{over}': {what}, annotated {shown(hint)}, is no list: annotate it 'list[...]'"
        )
        element = UNKNOWN
    return Items(over, field is not None, element)
