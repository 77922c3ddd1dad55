"""Groups: neighbouring steps that execute at the same time."""

from collections.abc import Iterator, Sequence

from taskplatform.core.draft import Draft
from taskplatform.core.names import parameter_name


def group_problems(drafts: Sequence[Draft]) -> Iterator[tuple[str, str]]:
    """What is wrong with the groups: the step, and the problem with its remedy."""
    steps = {parameter_name(draft.name): draft.name for draft in drafts}
    ended: dict[str, str] = {}
    before: Draft | None = None
    for draft in drafts:
        if before is not None and before.group is not None and before.group != draft.group:
            ended[before.group] = draft.name
        group = draft.group
        opens = group is not None and (before is None or before.group != group)
        if group is not None and opens:
            if parameter_name(group) in steps:
                named = steps[parameter_name(group)]
                yield draft.name, f"group '{group}' has the name of step '{named}': rename one"
            if group in ended:
                yield (
                    draft.name,
                    f"group '{group}' was ended by step '{ended[group]}': declare the members of a "
                    "group one after another, or give one of the two groups another name",
                )
        before = draft
