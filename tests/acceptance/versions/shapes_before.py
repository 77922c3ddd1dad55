"""Pipelines as they were when their runs began: in each, one body fails and waits for its retry."""

from taskplatform import Pipeline, Retry
from tests.acceptance.ledger import Done, step
from tests.acceptance.versions.parts import Parts, broken

LATER = Retry(delays=["1h"])

added = Pipeline("added", input=Parts, retry=LATER)


@added.step
def first(input: Parts) -> Done:
    return step(input, "first")


@added.step
def gate(input: Parts, first: Done) -> Done:
    return broken(input, "gate")


removed = Pipeline("removed", input=Parts, retry=LATER)


@removed.step(name="first")
def removed_first(input: Parts) -> Done:
    return step(input, "first")


@removed.step
def gone(input: Parts) -> Done:
    return step(input, "gone")


@removed.step(name="gate")
def removed_gate(input: Parts) -> Done:
    return broken(input, "gate")


renamed = Pipeline("renamed", input=Parts, retry=LATER)


@renamed.step
def old(input: Parts) -> Done:
    return step(input, "old")


@renamed.step(name="gate")
def renamed_gate(input: Parts, old: Done) -> Done:
    return broken(input, "gate")


reordered = Pipeline("reordered", input=Parts, retry=LATER)


@reordered.step
def a(input: Parts) -> Done:
    return step(input, "a")


@reordered.step
def b(input: Parts) -> Done:
    return step(input, "b")


@reordered.step
def c(input: Parts, a: Done) -> Done:
    return broken(input, "c")


raised = Pipeline("raised", input=Parts, retry=LATER)


@raised.step(name="first")
def raised_first(input: Parts) -> Done:
    return step(input, "first")


@raised.step(name="gate")
def raised_gate(input: Parts, first: Done) -> Done:
    return broken(input, "gate")


passed = Pipeline("passed", input=Parts, retry=LATER)


@passed.step(name="first")
def passed_first(input: Parts) -> Done:
    return step(input, "first")


@passed.step
def second(input: Parts, first: Done) -> Done:
    return step(input, "second")


@passed.step(name="gate")
def passed_gate(input: Parts) -> Done:
    return broken(input, "gate")


to_group = Pipeline("to-group", input=Parts, retry=LATER)


@to_group.step
def left(input: Parts) -> Done:
    return step(input, "left")


@to_group.step
def right(input: Parts, left: Done) -> Done:
    return broken(input, "right")


def _group(name: str) -> Pipeline[Parts]:
    declared = Pipeline(name, input=Parts, retry=LATER)

    @declared.step(group="both")
    def left(input: Parts) -> Done:
        return step(input, "left")

    @declared.step(group="both")
    def right(input: Parts) -> Done:
        return broken(input, "right")

    return declared


to_sequence = _group("to-sequence")
member_added = _group("member-added")
member_removed = _group("member-removed")

to_plain = Pipeline("to-plain", input=Parts, retry=LATER)


@to_plain.map(over="parts")
def each(item: str, index: int, input: Parts) -> str:
    step(input, f"each[{index}]")
    if index == 1:
        raise RuntimeError("not good enough yet")
    return item


to_map = Pipeline("to-map", input=Parts, retry=LATER)


@to_map.step(name="each")
def to_map_each(input: Parts) -> list[str]:
    broken(input, "each")
    return []


to_map_done = Pipeline("to-map-done", input=Parts, retry=LATER)


@to_map_done.step(name="each")
def to_map_done_each(input: Parts) -> list[str]:
    step(input, "each")
    return ["whole"]


@to_map_done.step(name="gate")
def to_map_done_gate(input: Parts, each: list[str]) -> Done:
    return broken(input, "gate")


options = Pipeline("options", input=Parts, retry=LATER)


@options.map(over="parts", max_parallel=1, name="each")
def options_each(item: str, index: int, input: Parts) -> str:
    step(input, f"each[{index}]")
    if index == 1:
        raise RuntimeError("not good enough yet")
    return item


items = Pipeline("items", input=Parts, retry=LATER)


@items.map(over="parts", name="each")
def items_each(item: str, index: int, input: Parts) -> str:
    step(input, f"each[{index}]")
    if index == 1:
        raise RuntimeError("not good enough yet")
    return item


wait_removed = Pipeline("wait-removed", input=Parts, retry=LATER)
wait_removed.wait("approval", event="parts.approved", match="id", timeout="7d")


@wait_removed.step(name="end")
def wait_removed_end(input: Parts) -> Done:
    return step(input, "end")
