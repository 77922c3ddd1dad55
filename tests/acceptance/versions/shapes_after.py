"""The same pipelines as deployed later, each changed as its name says."""

from taskplatform import ItemError, Pipeline, Retry
from tests.acceptance.ledger import Done, step
from tests.acceptance.versions.parts import Parts

added = Pipeline("added", input=Parts)


@added.step
def zero(input: Parts) -> Done:
    return step(input, "zero")


@added.step
def first(input: Parts, zero: Done) -> Done:
    return step(input, "first")


@added.step
def middle(input: Parts, first: Done) -> Done:
    return step(input, "middle")


@added.step
def gate(input: Parts, middle: Done) -> Done:
    return step(input, "gate")


removed = Pipeline("removed", input=Parts)


@removed.step(name="first")
def removed_first(input: Parts) -> Done:
    return step(input, "first")


@removed.step(name="gate")
def removed_gate(input: Parts, first: Done) -> Done:
    return step(input, "gate")


renamed = Pipeline("renamed", input=Parts)


@renamed.step
def new(input: Parts) -> Done:
    return step(input, "new")


@renamed.step(name="gate")
def renamed_gate(input: Parts, new: Done) -> Done:
    return step(input, "gate")


reordered = Pipeline("reordered", input=Parts)


@reordered.step
def c(input: Parts) -> Done:
    return step(input, "c")


@reordered.step
def b(input: Parts, c: Done) -> Done:
    return step(input, "b")


@reordered.step
def a(input: Parts, b: Done) -> Done:
    return step(input, "a")


raised = Pipeline("raised", input=Parts)


@raised.step(name="first", version=2)
def raised_first(input: Parts) -> Done:
    return step(input, "first")


@raised.step(name="gate")
def raised_gate(input: Parts, first: Done) -> Done:
    return step(input, "gate")


passed = Pipeline("passed", input=Parts)


@passed.step(name="first", version=2)
def passed_first(input: Parts) -> Done:
    return step(input, "first")


@passed.step
def second(input: Parts, first: Done) -> Done:
    return step(input, "second")


@passed.step(name="gate")
def passed_gate(input: Parts, first: Done) -> Done:
    return step(input, "gate")


to_group = Pipeline("to-group", input=Parts)


@to_group.step(group="both")
def left(input: Parts) -> Done:
    return step(input, "left")


@to_group.step(group="both")
def right(input: Parts) -> Done:
    return step(input, "right")


to_sequence = Pipeline("to-sequence", input=Parts)


@to_sequence.step(name="left")
def sequence_left(input: Parts) -> Done:
    return step(input, "left")


@to_sequence.step(name="right")
def sequence_right(input: Parts, left: Done) -> Done:
    return step(input, "right")


@to_sequence.step
def last(input: Parts, right: Done) -> Done:
    return step(input, "last")


member_added = Pipeline("member-added", input=Parts)


@member_added.step(name="left", group="both")
def added_left(input: Parts) -> Done:
    return step(input, "left")


@member_added.step(name="right", group="both")
def added_right(input: Parts) -> Done:
    return step(input, "right")


@member_added.step(group="both")
def extra(input: Parts) -> Done:
    return step(input, "extra")


@member_added.step
def end(input: Parts, left: Done, right: Done, extra: Done) -> Done:
    return step(input, "end")


member_removed = Pipeline("member-removed", input=Parts)


@member_removed.step(name="left", group="both")
def removed_left(input: Parts) -> Done:
    return step(input, "left")


@member_removed.step(name="end")
def removed_end(input: Parts, left: Done) -> Done:
    return step(input, "end")


to_plain = Pipeline("to-plain", input=Parts)


@to_plain.step
def each(input: Parts) -> Done:
    return step(input, "each")


to_map = Pipeline("to-map", input=Parts)


@to_map.map(over="parts", name="each")
def to_map_each(item: str, index: int, input: Parts) -> str:
    step(input, f"each[{index}]")
    return item


to_map_done = Pipeline("to-map-done", input=Parts)


@to_map_done.map(over="parts", name="each")
def to_map_done_each(item: str, index: int, input: Parts) -> str:
    step(input, f"each[{index}]")
    return item


@to_map_done.step(name="gate")
def to_map_done_gate(input: Parts, each: list[str]) -> list[str]:
    step(input, "gate")
    return each


options = Pipeline("options", input=Parts)


@options.map(over="parts", on_item_error="collect", retry=Retry(0), name="each")
def options_each(item: str, index: int, input: Parts) -> str:
    step(input, f"each[{index}]")
    if index == 1:
        raise ValueError("never good enough")
    return item


@options.step(name="end")
def options_end(input: Parts, each: list[str | ItemError]) -> list[str | ItemError]:
    step(input, "end")
    return each


items = Pipeline("items", input=Parts)


@items.map(over="parts", name="each")
def items_each(item: str, index: int, input: Parts) -> str:
    step(input, f"each[{index}]")
    return item


wait_removed = Pipeline("wait-removed", input=Parts)


@wait_removed.step(name="begin")
def wait_removed_begin(input: Parts) -> Done:
    return step(input, "begin")


@wait_removed.step(name="end")
def wait_removed_end(input: Parts, begin: Done) -> Done:
    return step(input, "end")
