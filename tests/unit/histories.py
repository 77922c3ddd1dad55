"""Histories of a platform that did everything right, of two steps and any number of runs."""

from dataclasses import replace

from taskplatform.verify.judge.history import (
    Change,
    Commit,
    Execution,
    Fault,
    Grant,
    History,
    Operation,
    Result,
    Run,
)

MS = 1_000_000
SECOND = 1000 * MS
STEPS = ("one", "two")


def good(runs: int = 3, *, killed: bool = False, slept: bool = False) -> History:
    """Runs one after the other.

    With `killed`, each first execution is cut off with its process and executed by another; with
    `slept`, its process goes on later, and its write is refused.
    """
    history = History(seed=1, concurrency=1, plans={"p": [[step] for step in STEPS]})
    for number in range(runs):
        _run(history, number, killed or slept, slept)
    return history


def _run(history: History, number: int, lost: bool, slept: bool) -> None:
    id, at, order = f"run-{number}", 10 * SECOND * number, 100 * number
    history.operations.append(Operation("enqueue", f"r{number}", id, f"k{number}", "ok"))
    history.runs[id] = Run(id, "p", f"k{number}", True, f"r{number}", "succeeded", None, None)
    history.changes.append(Change(id, "queued", at, order))
    epoch = 10 * number + 1
    history.grants.append(Grant(id, "", epoch, order + 1))
    if lost:
        pid = 1000 + number
        history.executions.append(Execution(id, "p", "one", 1, epoch, pid, at + MS, worker=pid))
        kind = "pause-child" if slept else "kill-child"
        end = at + (5 * SECOND if slept else 2 * MS)
        history.faults.append(Fault(kind, frozenset({pid}), at + 2 * MS, end))
        if slept:
            history.refused += 1
            history.executions[-1].end = at + 5 * SECOND + MS
            history.executions[-1].value = f"{id}-one"
        epoch += 1
        history.grants.append(Grant(id, "", epoch, order + 2))
    attempt = 2 if lost else 1
    for place, step in enumerate(STEPS):
        start = at + SECOND + 100 * MS * place
        value = f"{id}-{step}"
        end = start + 10 * MS
        number_of = attempt if step == "one" else 1
        one = Execution(id, "p", step, number_of, epoch, 7, start, end, value, 1)
        history.executions.append(one)
        commit = Commit(id, step, epoch, value, end + 5 * MS, order + 10 + place, False)
        history.commits.append(commit)
        history.results.append(Result(id, step, value, number_of, epoch, False))
    history.changes.append(Change(id, "succeeded", at + 2 * SECOND, order + 50))


def changed(history: History, part: str, place: int, **more: object) -> History:
    """The history with other values in one of its facts."""
    facts = getattr(history, part)
    facts[place] = replace(facts[place], **more)
    return history
