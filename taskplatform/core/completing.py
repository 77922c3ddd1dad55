"""From the steps as declared to steps that can be executed, or to all that is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_origin

from taskplatform.core.batching import batch_problems, element_in
from taskplatform.core.binding import Bound, bind
from taskplatform.core.draft import Draft
from taskplatform.core.groups import group_problems
from taskplatform.core.hints import codec_of, shown
from taskplatform.core.names import COMPENSATION
from taskplatform.core.outputs import UNKNOWN, Output, bare, output_of, returned
from taskplatform.core.over import Items, items_of
from taskplatform.core.result_type import result_problem
from taskplatform.core.retry import Retry
from taskplatform.core.shapes import Kind, Mapped
from taskplatform.core.step import Step
from taskplatform.core.surroundings import Surroundings
from taskplatform.errors import DeclarationError

if TYPE_CHECKING:
    from taskplatform.core.pipeline import Declaration

_MOST_STEPS = 500
_MAPPINGS = (dict, Mapping)


@dataclass(slots=True)
class _Parts:
    """What was found out about one step."""

    draft: Draft
    bound: Bound | None = None
    mapped: Mapped | None = None
    undo: Bound | None = None


def complete(declaration: "Declaration[Any]", drafts: Sequence[Draft]) -> tuple[Step, ...]:
    """Check a pipeline as a whole and make its steps.

    Raises one DeclarationError that says all that is wrong.
    """
    problems: list[tuple[str, str | None]] = [
        (problem, None) for problem in declaration.inputs.problems()
    ]
    if not drafts:
        problems.append(("it has no step: decorate a function with .step", None))
    if len(drafts) > _MOST_STEPS:
        problems.append(
            (
                f"it has {len(drafts)} steps and may have {_MOST_STEPS}: use .map for what is "
                "repeated, or .child for a part of it",
                None,
            )
        )
    for limit in declaration.concurrency:
        problems += [
            (problem, None)
            for problem in declaration.inputs.field_problems("concurrency key", limit.key)
        ]
    problems += [(problem, step) for step, problem in group_problems(drafts)]
    outputs = [output_of(draft) for draft in drafts]
    if declaration.batch is not None and drafts:
        problems += [(problem, drafts[0].name) for problem in batch_problems(drafts[0])]
        key = declaration.inputs.field_problems("batch key", declaration.batch.key)
        problems += [(problem, None) for problem in key]
        # What later steps are given is that of one run.
        outputs[0] = replace(outputs[0], hint=element_in(outputs[0].hint) or UNKNOWN)
    found = []
    for position, draft in enumerate(drafts):
        wrong: list[str] = []
        undone_wrong: list[str] = []
        parts = _parts(declaration, draft, outputs, position, wrong)
        if draft.compensate is not None:
            around = Surroundings(
                declaration.input, declaration.input_names, outputs, position, undoing=True
            )
            parts.undo = bind(draft.compensate, around, undone_wrong)
            _check_nothing_returned(draft, undone_wrong)
        problems += [(problem, draft.name) for problem in wrong]
        problems += [(problem, undo_name(draft.name)) for problem in undone_wrong]
        found.append(parts)
    if problem := result_problem(declaration.output, drafts, outputs):
        problems.append((problem, None))
    if problems:
        raise DeclarationError("\n".join(str(declaration.error(*one)) for one in problems))
    return tuple(_step(declaration, parts) for parts in found)


def undo_name(step: str) -> str:
    """The name of a step's compensation."""
    return step + COMPENSATION


def _parts(
    declaration: "Declaration[Any]",
    draft: Draft,
    outputs: Sequence[Output],
    position: int,
    wrong: list[str],
) -> _Parts:
    parts = _Parts(draft)
    for throttle in draft.throttles:
        weight = None if isinstance(throttle.weight, int) else throttle.weight
        for option, field in (("key", throttle.key), ("weight", weight)):
            what = f"throttle '{throttle.name}' {option}"
            wrong += declaration.inputs.field_problems(what, field)
    for limit in draft.concurrency:
        wrong += declaration.inputs.field_problems("concurrency key", limit.key)
    if draft.wait is not None:
        wrong += declaration.inputs.field_problems("match", draft.wait.match)
    around = Surroundings(declaration.input, declaration.input_names, outputs, position)
    if declaration.batch is not None and position == 0:
        parts.bound = _batched(declaration, draft, outputs, wrong)
        return parts
    items: Items | None = None
    if draft.over is not None:
        items = items_of(draft.over.name, around, wrong)
        parts.mapped = _mapped(draft, items, outputs[position].hint)
    if draft.function is None:
        hint = Any if draft.kind is Kind.WAIT and draft.model is None else outputs[position].hint
        output = codec_of(hint, "its model", wrong)
        parts.bound = None if output is None else Bound((), output)
    else:
        parts.bound = bind(draft.function, around, wrong, items)
    if draft.child is not None:
        _check_made(draft, draft.child.declaration, wrong)
    return parts


def _batched(
    declaration: "Declaration[Any]", draft: Draft, outputs: Sequence[Output], wrong: list[str]
) -> Bound | None:
    """A body that is given a list of inputs and returns as many outputs."""
    if draft.function is None:
        return None
    around = Surroundings(
        declaration.input, declaration.input_names, outputs, position=0, batched=True
    )
    bound = bind(draft.function, around, wrong)
    element = element_in(bare(returned(draft.function)))
    if bound is None or element is None:
        return None
    output = codec_of(element, "its return annotation", wrong)
    return None if output is None else Bound(bound.bindings, output)


def _mapped(draft: Draft, items: Items, output: Any) -> Mapped:
    assert draft.over is not None
    # Wrong ones are told where they are declared: of the input, or of a step.
    told: list[str] = []
    return Mapped(
        items.over,
        items.from_input,
        codec_of(items.hint, "", told),
        draft.over.max_parallel,
        draft.over.on_item_error,
        codec_of(output, "", told),
    )


def _check_made(draft: Draft, child: "Declaration[Any]", wrong: list[str]) -> None:
    hint = bare(returned(draft.function))
    if hint is UNKNOWN or hint is child.input or (get_origin(hint) or hint) in _MAPPINGS:
        return
    wrong.append(
        f"its input function returns {shown(hint)}, but the input of pipeline '{child.name}' is "
        f"{shown(child.input)}: return that, or a dict"
    )


def _check_nothing_returned(draft: Draft, wrong: list[str]) -> None:
    hint = returned(draft.compensate)
    if hint is not UNKNOWN and hint is not type(None):
        wrong.append(
            f"its return annotation is {shown(hint)}, but what a compensation returns is not "
            "kept: annotate it '-> None'"
        )


def _step(declaration: "Declaration[Any]", parts: _Parts) -> Step:
    draft = parts.draft
    assert parts.bound is not None
    undo = None
    if draft.compensate is not None and parts.undo is not None:
        undo = Step(
            name=undo_name(draft.name),
            function=draft.compensate,
            pipeline=declaration.name,
            retry=declaration.retry,
            timeout=declaration.timeout,
            queue=draft.queue or declaration.queue,
            throttles=(),
            version=1,
            bound=parts.undo,
            input=declaration.inputs.codec,
        )
    # A child that failed has had its own retries.
    retry = Retry(0) if draft.child is not None else declaration.retry
    return Step(
        name=draft.name,
        function=_nothing if draft.function is None else draft.function,
        pipeline=declaration.name,
        retry=draft.retry or retry,
        timeout=declaration.timeout if draft.timeout is None else draft.timeout,
        queue=draft.queue or declaration.queue,
        throttles=draft.throttles,
        version=draft.version,
        bound=parts.bound,
        input=declaration.inputs.codec,
        kind=draft.kind,
        group=draft.group,
        transactional=draft.transactional,
        heartbeat=draft.heartbeat,
        mapped=parts.mapped,
        sleep=draft.sleep,
        wait=draft.wait,
        child=draft.child,
        compensation=undo,
        batch=declaration.batch if draft is declaration.first_draft else None,
        concurrency=tuple(
            one.named(f"{declaration.name}.{draft.name}") for one in draft.concurrency
        ),
        breakers=draft.breakers,
    )


def _nothing() -> None:
    """The function of a step that has no body."""
