"""The judge: what is right passes, and each thing that is wrong is found, as what it is."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskplatform.verify.judge.excuses import Excuses
from taskplatform.verify.judge.history import (
    Call,
    Change,
    Commit,
    Execution,
    Fault,
    Grant,
    History,
    Operation,
    Run,
)
from taskplatform.verify.judge.limited import slots_kept
from taskplatform.verify.judge.verdict import INCONCLUSIVE, PASS, VIOLATED, decide
from tests.unit.histories import MS, SECOND, changed, good


@given(st.integers(1, 8), st.booleans(), st.booleans())
def test_what_is_right_passes(runs: int, killed: bool, slept: bool) -> None:
    verdict = decide(good(runs, killed=killed, slept=slept))
    assert verdict.violations == []
    assert verdict.verdict == PASS
    assert verdict.excess == (runs if killed or slept else 0)


def _remade(history: History, id: str, **more: str | None) -> History:
    history.runs[id] = replace(history.runs[id], **more)  # type: ignore[arg-type]
    return history


def _accepted_and_gone(history: History) -> History:
    del history.runs["run-1"]
    return history


def _never_ended(history: History) -> History:
    history.runs["run-1"] = Run("run-1", "p", None, False, "r1", "queued", None, None)
    return history


def _nobody_asked(history: History) -> History:
    history.operations.pop()
    return history


def _executed_after_its_commit(history: History) -> History:
    late = history.commits[0].at + SECOND
    history.faults.append(Fault("kill-child", frozenset({99}), late, late + SECOND))
    history.executions.append(Execution("run-0", "p", "one", 2, 1, 99, late))
    return history


def _committed_twice(history: History) -> History:
    first = history.commits[0]
    history.commits.insert(
        1, Commit(first.run, first.step, first.epoch, first.fingerprint, first.at + MS, 11, False)
    )
    return history


def _stored_otherwise(history: History) -> History:
    return changed(history, "results", 0, fingerprint="other")


def _nobody_returned_it(history: History) -> History:
    changed(history, "results", 0, fingerprint="other")
    return changed(history, "commits", 0, fingerprint="other")


def _stale(history: History) -> History:
    first = history.commits[0]
    history.grants.append(Grant("run-0", "", first.epoch + 1, first.order - 1))
    return history


def _epoch_twice(history: History) -> History:
    history.grants.append(Grant("run-0", "", history.grants[0].epoch, 9))
    return history


def _on_no_record(history: History) -> History:
    before = history.executions[0].start - 100 * MS
    history.executions.append(Execution("run-0", "p", "one", 7, 1, 7, before))
    return history


def _too_early(history: History) -> History:
    history.executions[1].start = history.commits[0].at - 4 * MS
    return history


def _too_often(history: History) -> History:
    history.limits["api"] = (2, 1.0)
    history.calls += [Call("api", "x", "y", place * 100 * MS) for place in range(3)]
    return history


def _key_twice(history: History) -> History:
    for id in ("run-0", "run-1"):
        run = history.runs[id]
        history.runs[id] = Run(id, "p", "same", True, run.request, run.status, None, None)
    history.changes.insert(1, Change("run-1", "queued", MS, 5))
    return history


def _too_many_at_once(history: History) -> History:
    first, second = history.executions[:2]
    second.worker = first.worker
    first.end = second.start + MS
    return history


def _same_request(history: History) -> History:
    return _remade(history, "run-1", request="r0")


def _of_no_request(history: History) -> History:
    """Of two runs without a request id the one that was accepted is no excuse for the other."""
    for number in (0, 1):
        operation = history.operations[number]
        told = operation if number == 0 else replace(operation, run=None, told="fail")
        history.operations[number] = replace(told, request=None)
        _remade(history, f"run-{number}", request=None)
    return history


def _held(history: History) -> History:
    history.held = 1
    return history


def _cancelled_and_succeeded(history: History) -> History:
    history.operations.append(Operation("cancel", None, "run-0", None, "ok"))
    return history


def _without_output(history: History) -> History:
    history.commits = [one for one in history.commits if (one.run, one.step) != ("run-0", "two")]
    history.results = [one for one in history.results if (one.run, one.step) != ("run-0", "two")]
    history.attempts.add(("run-0", "two", 1, 1))
    return history


def _too_many_under_a_limit(history: History) -> History:
    """The second begins before the first has ended, in a worker of its own."""
    first, second = history.executions[0], history.executions[-1]
    first.under = second.under = {"press": 1}
    first.end, second.worker = second.start + MS, 99
    return history


def _of_somebody_else(history: History) -> History:
    first = history.operations[0]
    history.operations[0] = replace(first, wants="another", pipeline="p")
    return history


WRONG = {
    "I1": (_accepted_and_gone, _never_ended, _nobody_asked, _same_request, _of_no_request),
    "I2": (_executed_after_its_commit,),
    "I3": (_committed_twice, _stored_otherwise, _nobody_returned_it),
    "I4": (_stale, _epoch_twice),
    "I5": (_on_no_record,),
    "I6": (_too_early,),
    "I7": (_too_often,),
    "I8": (_key_twice,),
    "I9": (_too_many_at_once, _too_many_under_a_limit),
    "I11": (_held,),
    "I12": (_cancelled_and_succeeded, _without_output),
    "I13": (_of_somebody_else,),
}
CASES = [(name, one) for name, several in WRONG.items() for one in several]


@pytest.mark.parametrize(("invariant", "spoil"), CASES, ids=[one.__name__ for _, one in CASES])
@pytest.mark.parametrize("runs", [2, 5])
def test_what_is_wrong_is_found_as_what_it_is(
    invariant: str, spoil: Callable[[History], History], runs: int
) -> None:
    verdict = decide(spoil(good(runs)))
    assert verdict.verdict == VIOLATED
    assert {one.invariant for one in verdict.violations} == {invariant}


def test_a_start_of_a_process_that_had_slept_is_excused_only_right_after_it_woke() -> None:
    """Nobody can check and start in one instant; a tenth of a second is no instant any more."""
    for late, found in ((50 * MS, PASS), (500 * MS, VIOLATED)):
        history = good(1, slept=True)
        woke = history.faults[0].end
        history.executions[0].start = woke + late
        history.executions[0].end = woke + late + MS
        assert decide(history).verdict == found


def test_a_call_without_an_id_whose_answer_was_lost_may_have_made_one_run() -> None:
    history = good(3)
    for number in (0, 1):
        _remade(history, f"run-{number}", request=None)
        history.operations[number] = Operation("enqueue", None, None, None, "unknown")
    assert decide(history).verdict == PASS
    history.operations.pop(0)
    assert {one.invariant for one in decide(history).violations} == {"I1"}


@pytest.mark.parametrize(("kind", "found"), [("cut-postgres", PASS), ("kill-child", VIOLATED)])
def test_whose_lease_may_run_out_is_excused_for_as_long_and_no_longer(
    kind: str, found: str
) -> None:
    """A cut is over at once; what nobody could renew meanwhile runs out later."""
    for late, verdict in ((14 * SECOND, found), (16 * SECOND, VIOLATED)):
        history = good(1)
        start = history.executions[0].start
        history.executions.append(Execution("run-0", "p", "one", 7, 1, 7, start - 100 * MS))
        begun = start - late
        for pid, wanted in ((7, verdict), (8, VIOLATED)):
            history.faults = [Fault(kind, frozenset({pid}), begun, begun)]
            assert decide(history).verdict == wanted


@pytest.mark.parametrize(
    ("kind", "late", "found"),
    [
        ("kill-child", 3 * MS, PASS),
        ("kill-child", MS, VIOLATED),
        ("pause-child", 11 * SECOND, PASS),
        ("pause-child", 9 * SECOND, VIOLATED),
        ("", 3 * MS, PASS),
    ],
)
def test_a_slot_is_held_until_an_end_a_death_or_as_long_as_a_lease(
    kind: str, late: int, found: str
) -> None:
    """W13: a sleeper counts for ten seconds, since his lease was renewed until then."""
    history = good(2, killed=True)
    first, second = history.executions[0], history.executions[-1]
    fault = Fault(kind, frozenset({first.pid}), first.start + 2 * MS, first.start + 60 * SECOND)
    history.faults = [fault, *history.faults[1:]]
    start = first.start + late
    if not kind:
        # It has raised, before anybody else began.
        history.faults = history.faults[1:]
    second = replace(second, start=start, end=start + MS)
    first.under = second.under = {"press": 1}
    history.executions = [first, second]
    seen = [one.invariant for one in slots_kept(history, Excuses(history))]
    assert seen == (["I9"] if found == VIOLATED else [])


@pytest.mark.parametrize(("told", "found"), [("unknown", PASS), ("ok", VIOLATED)])
def test_a_burst_comes_to_what_its_last_caller_wants(told: str, found: str) -> None:
    """Q14: or to what one does who was told nothing, since he may have been the last."""
    history = good(1)
    value = history.results[-1].fingerprint
    last = replace(history.operations[0], told=told, wants="another", pipeline="p")
    if told == "unknown":
        last = replace(last, run=None)
    history.operations = [replace(history.operations[0], wants=value, pipeline="p"), last]
    assert decide(history).verdict == found
    history.operations.reverse()
    assert decide(history).verdict == PASS


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_too_little_done_proves_nothing(status: str) -> None:
    history = good(5)
    for id in ("run-0", "run-1"):
        run = history.runs[id]
        history.runs[id] = Run(id, "p", run.key, True, run.request, status, None, None)
    assert decide(history).verdict == INCONCLUSIVE


def test_too_few_faults_prove_nothing() -> None:
    history = good(3, killed=True)
    history.least = 3
    assert decide(history).verdict == PASS
    history.least = 4
    assert decide(history).verdict == INCONCLUSIVE


def test_nothing_done_proves_nothing() -> None:
    assert decide(History()).verdict == INCONCLUSIVE


def test_clocks_that_drift_apart_prove_nothing() -> None:
    history = good()
    history.clock_drift = 0.2
    assert decide(history).verdict == INCONCLUSIVE
