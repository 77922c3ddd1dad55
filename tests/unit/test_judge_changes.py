"""Whole histories of a platform that did everything right, with one fact of them changed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskplatform.verify.judge.history import Change, Execution, Grant, History
from taskplatform.verify.judge.verdict import PASS, VIOLATED, decide
from tests.unit.histories import MS, STEPS, good

Pick = Callable[[list[Any]], int]


def _run_gone(history: History, pick: Pick) -> None:
    ids = list(history.runs)
    del history.runs[ids[pick(ids)]]


def _run_open(history: History, pick: Pick) -> None:
    ids = list(history.runs)
    id = ids[pick(ids)]
    history.runs[id] = replace(history.runs[id], status="running")


def _call_gone(history: History, pick: Pick) -> None:
    del history.operations[pick(history.operations)]


def _result_gone(history: History, pick: Pick) -> None:
    del history.results[pick(history.results)]


def _result_other(history: History, pick: Pick) -> None:
    place = pick(history.results)
    history.results[place] = replace(history.results[place], fingerprint="other")


def _commit_gone(history: History, pick: Pick) -> None:
    del history.commits[pick(history.commits)]


def _commit_other(history: History, pick: Pick) -> None:
    place = pick(history.commits)
    history.commits[place] = replace(history.commits[place], fingerprint="other")


def _commit_twice(history: History, pick: Pick) -> None:
    one = history.commits[pick(history.commits)]
    history.commits.append(replace(one, at=one.at + MS, order=one.order + 1))


def _commit_of_another_epoch(history: History, pick: Pick) -> None:
    place = pick(history.commits)
    one = history.commits[place]
    history.commits[place] = replace(one, epoch=one.epoch + 5)


def _grant_gone(history: History, pick: Pick) -> None:
    del history.grants[_used(history, pick)]


def _grant_before_the_commit(history: History, pick: Pick) -> None:
    """Another was given the work, and the one before committed all the same."""
    one = history.commits[pick(history.commits)]
    history.grants.append(Grant(one.run, "", one.epoch + 5, one.order - 1))


def _grant_of_an_old_epoch(history: History, pick: Pick) -> None:
    one = history.grants[pick(history.grants)]
    history.grants.append(replace(one, order=one.order + 5))


def _start_after_its_commit(history: History, pick: Pick) -> None:
    one = history.commits[pick(history.commits)]
    again = Execution(one.run, "p", one.step, 9, one.epoch, 7, one.at + 5 * MS)
    history.executions.append(again)
    history.attempts.add((one.run, one.step, 9, one.epoch))


def _start_before_its_turn(history: History, pick: Pick) -> None:
    later = [one for one in history.executions if one.step == STEPS[1]]
    later[pick(later)].start -= 100 * MS


def _execution_twice(history: History, pick: Pick) -> None:
    one = history.executions[pick(history.executions)]
    history.executions.append(replace(one, start=one.start + MS))


def _execution_on_no_record(history: History, pick: Pick) -> None:
    one = history.executions[pick(history.executions)]
    history.executions.append(replace(one, attempt=9, pid=5, end=None, value=None))


def _other_value(history: History, pick: Pick) -> None:
    committed = [one for one in history.executions if one.pid == 7]
    committed[pick(committed)].value = "other"


def _one_more_at_once(history: History, pick: Pick) -> None:
    ended = [one for one in history.executions if one.end is not None]
    one = ended[pick(ended)]
    assert one.end is not None
    beside = replace(one, attempt=8, pid=6, start=one.start - 9 * MS, end=one.start + MS)
    history.executions.append(beside)
    history.attempts.add((one.run, one.step, 8, one.epoch))


def _key_owned_twice(history: History, pick: Pick) -> None:
    one = history.changes[pick(history.changes)]
    owner = replace(history.runs[one.run], id="run-x", request=None, made_by=one.run)
    history.runs["run-x"] = replace(owner, status="failed")
    order = next(each.order for each in history.changes if each.run == one.run) + 1
    history.changes.append(Change("run-x", "queued", one.at, order))
    history.changes.sort(key=lambda each: each.order)


def _stuck(history: History, pick: Pick) -> None:
    ids = list(history.runs)
    history.stuck.append(ids[pick(ids)])


def _held(history: History, pick: Pick) -> None:
    history.held = 1 + pick([1, 2])


def _deadlock(history: History, pick: Pick) -> None:
    history.deadlocks = 1 + pick([1, 2])


CHANGES: dict[Callable[[History, Pick], None], set[str]] = {
    _run_gone: {"I1"},
    _run_open: {"I1"},
    _call_gone: {"I1"},
    _result_gone: {"I3", "I5", "I12"},
    _result_other: {"I3"},
    _commit_gone: {"I3", "I6", "I12"},
    _commit_other: {"I3"},
    _commit_twice: {"I3"},
    _commit_of_another_epoch: {"I4"},
    _grant_gone: {"I4"},
    _grant_before_the_commit: {"I4"},
    _grant_of_an_old_epoch: {"I4"},
    _start_after_its_commit: {"I2"},
    _start_before_its_turn: {"I6"},
    _execution_twice: {"I5"},
    _execution_on_no_record: {"I5"},
    _other_value: {"I3"},
    _one_more_at_once: {"I9"},
    _key_owned_twice: {"I8"},
    _stuck: {"I11"},
    _held: {"I11"},
    _deadlock: {"I11"},
}


@pytest.mark.parametrize("change", CHANGES, ids=[one.__name__ for one in CHANGES])
@given(
    runs=st.integers(1, 6),
    how=st.sampled_from(["sound", "killed", "slept"]),
    where=st.integers(0, 10**6),
)
def test_each_change_is_found(
    change: Callable[[History, Pick], None], runs: int, how: str, where: int
) -> None:
    history = good(runs, killed=how == "killed", slept=how == "slept")
    assert decide(history).verdict == PASS
    change(history, lambda facts: where % len(facts))
    verdict = decide(history)
    assert verdict.verdict == VIOLATED
    assert {one.invariant for one in verdict.violations} & CHANGES[change]


def _used(history: History, pick: Pick) -> int:
    epochs = {one.epoch for one in history.commits}
    used = [place for place, one in enumerate(history.grants) if one.epoch in epochs]
    return used[pick(used)]
