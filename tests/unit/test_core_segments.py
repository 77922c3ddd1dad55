"""Which stage comes next (W1, Q19): by the code as it is now, whatever has an output already."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.pipeline import Declaration
from taskplatform.core.segments import (
    next_compensation,
    next_stage,
    next_step,
    output_steps,
    same_segment,
)
from taskplatform.core.step import Step

# A pipeline as the sizes of its stages; 1 may be a step alone or a group of one.
Sizes = list[int]
SIZES = st.lists(st.integers(min_value=1, max_value=4), min_size=1, max_size=6)


class Nothing(BaseModel):
    several: list[int] = []


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


def body(input: Nothing) -> None: ...
def undo(input: Nothing) -> None: ...
def of_item(item: int) -> None: ...


def declare(sizes: Sizes, versions: dict[str, int] | None = None) -> Declaration[Nothing]:
    """Stages of these sizes, of steps `s0-0`, `s0-1`, ...; every third step can be undone."""
    registry.clear()
    pipeline = Declaration("p", input=Nothing)
    for at, size in enumerate(sizes):
        for member in range(size):
            name = f"s{at}-{member}"
            pipeline.step(
                name=name,
                group=f"g{at}" if size > 1 else None,
                version=(versions or {}).get(name, 1),
                compensate=undo if (at + member) % 3 == 0 else None,
            )(body)
    return pipeline


def names(steps: tuple[Step, ...]) -> list[str]:
    return [step.name for step in steps]


def test_a_stage_that_is_missing_something_comes_next_with_what_is_missing() -> None:
    pipeline = declare([1, 3, 1])
    assert names(next_stage(pipeline, {})) == ["s0-0"]
    assert names(next_stage(pipeline, {"s0-0": 1})) == ["s1-0", "s1-1", "s1-2"]
    assert names(next_stage(pipeline, {"s0-0": 1, "s1-1": 1})) == ["s1-0", "s1-2"]
    done = {"s0-0": 1, "s1-0": 1, "s1-1": 1, "s1-2": 1}
    assert names(next_stage(pipeline, done)) == ["s2-0"]
    assert next_stage(pipeline, {**done, "s2-0": 1}) == ()
    assert next_step(pipeline, {**done, "s2-0": 1}) is None


def test_a_member_that_was_added_to_a_group_is_executed_alone() -> None:
    """Also if later stages have their outputs: it is the first one without an output."""
    pipeline = declare([1, 3, 1])
    assert names(next_stage(pipeline, {"s0-0": 1, "s1-0": 1, "s1-2": 1, "s2-0": 1})) == ["s1-1"]


def test_what_is_no_longer_declared_does_not_count() -> None:
    pipeline = declare([1, 2])
    assert names(next_stage(pipeline, {"gone": 1, "s0-0": 1, "g1": 1})) == ["s1-0", "s1-1"]


def test_a_new_version_executes_again_only_in_the_last_stage_that_was_reached() -> None:
    pipeline = declare([1, 2, 1], {"s0-0": 2, "s1-1": 2, "s2-0": 2})
    reached = {"s0-0": 1, "s1-0": 1, "s1-1": 1}
    assert names(next_stage(pipeline, reached)) == ["s1-1"]
    assert names(next_stage(pipeline, {"s0-0": 1, "s1-1": 1})) == ["s1-0", "s1-1"]
    assert names(next_stage(pipeline, {**reached, "s1-1": 2})) == ["s2-0"]
    assert names(next_stage(pipeline, {**reached, "s2-0": 1})) == ["s2-0"]
    assert names(next_stage(pipeline, {"s0-0": 1})) == ["s0-0"]


@given(SIZES, st.data())
def test_walking_to_the_end_executes_each_step_once_and_stages_in_order(
    sizes: Sizes, data: st.DataObject
) -> None:
    """In whatever order the members of a group end, and if some of them end later."""
    pipeline = declare(sizes)
    done: dict[str, int] = {}
    executed: list[str] = []
    while stage := next_stage(pipeline, done):
        assert len({step.group for step in stage}) == 1
        ended = data.draw(st.lists(st.sampled_from(names(stage)), unique=True, min_size=1))
        for name in ended:
            step = pipeline.find(name)
            assert step is not None
            done[name] = step.version
            executed.append(name)
        assert len(executed) <= sum(sizes)
    assert sorted(executed) == sorted(names(pipeline.steps))
    order = [name.partition("-")[0] for name in executed]
    assert order == sorted(order)
    assert set(output_steps(pipeline)) == {f"s{len(sizes) - 1}-{n}" for n in range(sizes[-1])}


@given(SIZES, st.data())
def test_whatever_has_an_output_already_the_run_comes_to_an_end(
    sizes: Sizes, data: st.DataObject
) -> None:
    """Outputs of any steps in any version: what is executed is executed once, in order."""
    every = names(declare(sizes).steps)
    versions = data.draw(st.dictionaries(st.sampled_from(every), st.integers(1, 2)))
    before = data.draw(st.dictionaries(st.sampled_from([*every, "gone"]), st.integers(1, 2)))
    pipeline = declare(sizes, versions)
    done, executed = dict(before), []
    while stage := next_stage(pipeline, done):
        for step in stage:
            executed.append(step.name)
            done[step.name] = step.version
        assert len(executed) <= sum(sizes)
    assert len(set(executed)) == len(executed)
    assert {name for name in every if name not in before} <= set(executed)
    assert set(every) <= set(done)
    again = set(executed) & set(before)
    passed = [at for name in before if name != "gone" for at in [int(name[1])]]
    assert all(int(name[1]) >= max(passed) for name in again)
    assert all(before[name] != versions.get(name, 1) for name in again)


@given(SIZES, st.data())
def test_what_was_done_is_undone_once_latest_first(sizes: Sizes, data: st.DataObject) -> None:
    pipeline = declare(sizes)
    every = names(pipeline.steps)
    done = dict.fromkeys(data.draw(st.lists(st.sampled_from(every), unique=True)), 1)
    undone = []
    while (step := next_compensation(pipeline, done)) is not None:
        undone.append(step.name)
        done[step.name] = step.version
        assert len(undone) <= len(every)
    expected = [
        f"{step.name}:compensate"
        for step in reversed(pipeline.steps)
        if step.name in done and step.compensation is not None
    ]
    assert undone == expected


def test_a_run_without_compensations_has_nothing_to_undo() -> None:
    registry.clear()
    pipeline = Declaration("p", input=Nothing)
    pipeline.step(body)
    assert next_compensation(pipeline, {"body": 1}) is None


def test_compensations_are_no_steps_to_execute() -> None:
    pipeline = declare([1])
    assert names(pipeline.steps) == ["s0-0"]
    assert next_stage(pipeline, {"s0-0": 1, "s0-0:compensate": 1}) == ()


def test_the_output_of_a_run_is_that_of_its_last_stage() -> None:
    assert output_steps(declare([2, 1])) == ("s1-0",)
    assert output_steps(declare([1, 2])) == ("s1-0", "s1-1")


def test_only_a_body_continues_a_segment() -> None:
    registry.clear()
    other = Declaration("other", input=Nothing)
    pipeline = Declaration("p", input=Nothing)
    pipeline.step(name="first")(body)
    pipeline.step(name="second")(body)
    pipeline.map(over="several", name="third")(of_item)
    pipeline.sleep("fourth", 1)
    pipeline.wait("fifth", event="e")

    def same(input: Nothing) -> Nothing: ...  # type: ignore[empty-body]

    pipeline.child("sixth", other, input=same)
    first, *rest = pipeline.steps
    follows = [same_segment(pipeline, first, step, "q") for step in rest]
    assert follows == [True, False, False, False, False]
