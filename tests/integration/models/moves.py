"""What may become of held work: the settlement, and the same in the model."""

from collections.abc import Callable

from taskplatform.storage.claim import Claimed
from taskplatform.storage.settlement import Attempt, PutBack, Settlement
from tests.integration.models.model import HOUR, STEPS, Model, Run
from tests.integration.races.stage import fail, give_back, keep, pass_on, succeed, wait

MOVES = [
    *["go on", "go on", "mark", "pass on", "end"],
    *["retry", "put off", "park", "interrupted", "back", "fail"],
]
FOR_EVER = float("inf")
Happens = Callable[[Model, Run], None]


def move(one: Claimed, what: str, window: float | None) -> tuple[Settlement, Happens]:
    """The settlement of a claim, and what it does to the model if it is accepted."""
    step = one.step
    following = STEPS[min(STEPS.index(step) + 1, 2)]
    if step == STEPS[-1] and what in ("go on", "mark", "pass on"):
        what = "end"
    output = f'{{"step":"{step}","epoch":{one.epoch}}}'.encode()
    match what:
        case "go on" | "mark":
            marked = what == "mark"
            made = keep(one, following, output=output, mark=marked)
            return made, lambda model, run: model.keep(run, following, marked)
        case "pass on":
            return pass_on(one, following, output=output), _passed_on(following)
        case "end":
            return succeed(one, output=output, key_seconds=window), _ended(one, step, window)
        case "back":
            return give_back(one), lambda model, run: model.put_back(run, step, None, None)
        case "fail":
            return fail(one, key_seconds=window), _failed(one, window)
        case "retry":
            return wait(one, HOUR), _bad(step, "failed", HOUR, "retry")
        case "park":
            return wait(one, FOR_EVER, "parked"), _bad(step, "failed", FOR_EVER, "parked")
        case "put off":
            return _put_off(one, "put-off", HOUR), _bad(step, "put-off", HOUR, "retry")
        case _:
            return _put_off(one, "interrupted", None), _bad(step, "interrupted", None, None)


def _put_off(one: Claimed, outcome: str, delay: float | None) -> Settlement:
    reason = None if delay is None else "retry"
    then = PutBack(one.step, one.queue, delay, reason, put_off=delay or 0.0, tried=True)
    attempt = Attempt(one.step, outcome, None, started_ago=0.001)
    return Settlement(one.work_id, one.epoch, one.run_id, then, attempt=attempt)


def _passed_on(following: str) -> Happens:
    def happens(model: Model, run: Run) -> None:
        run.own.add(run.step)
        model.put_back(run, following, None, None)

    return happens


def _ended(one: Claimed, step: str, window: float | None) -> Happens:
    def happens(model: Model, run: Run) -> None:
        run.own.add(step)
        model.end(one.run_id, "succeeded", window)

    return happens


def _failed(one: Claimed, window: float | None) -> Happens:
    def happens(model: Model, run: Run) -> None:
        run.bad.append("failed")
        model.end(one.run_id, "failed", window)

    return happens


def _bad(step: str, outcome: str, delay: float | None, reason: str | None) -> Happens:
    def happens(model: Model, run: Run) -> None:
        run.bad.append(outcome)
        model.put_back(run, step, delay, reason, tried=True)

    return happens
