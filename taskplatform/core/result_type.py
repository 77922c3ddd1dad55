"""Whether a pipeline's `output=` is what its last stage gives."""

from collections.abc import Sequence
from typing import Any

from taskplatform.core.draft import Draft
from taskplatform.core.hints import shown
from taskplatform.core.outputs import UNKNOWN, Output, bare


def result_problem(output: Any, drafts: Sequence[Draft], outputs: Sequence[Output]) -> str | None:
    """Why a run's output is not of the type declared, with the remedy; None: it is."""
    if output is None or not drafts:
        return None
    last, draft = outputs[-1], drafts[-1]
    if last.group is not None and len(outputs) > 1 and outputs[-2].group == last.group:
        if bare(output) in (dict, dict[str, Any]):
            return None
        return (
            f"output={shown(output)}, but its last stage is the group '{last.group}', whose "
            "output is an object: declare output=dict[str, Any], or a step after the group"
        )
    hint = last.hint
    if draft.child is not None:
        hint = draft.child.declaration.output
        hint = UNKNOWN if hint is None else hint
    hint = type(None) if hint is None else hint
    if hint is UNKNOWN or bare(hint) == bare(output):
        return None
    return (
        f"output={shown(output)}, but its last step '{last.step}' gives {shown(hint)}: "
        "declare what the step returns"
    )
