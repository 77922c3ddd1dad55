"""Whether what was executed is on record, and in order: I5, I6."""

from collections.abc import Iterator
from itertools import pairwise

from taskplatform.verify.judge.excuses import Excuses
from taskplatform.verify.judge.history import History, Violation
from taskplatform.verify.judge.once import TOLERANCE, first_commits


def all_recorded(history: History, excuses: Excuses) -> Iterator[Violation]:
    """I5: each execution is an attempt that told what became of it, unless a fault cut it off."""
    known = {(one.run, one.step, one.attempt, one.epoch) for one in history.results}
    known |= history.attempts - history.lost_attempts
    seen: set[tuple[str, str, int, int]] = set()
    for one in history.executions:
        # Its attempt is the leader's, which is looked at.
        if one.member:
            continue
        key = one.run, one.step, one.attempt, one.epoch
        if key in seen:
            what = f"attempt {one.attempt} was executed twice under epoch {one.epoch}"
            yield Violation("I5", one.run, one.step, what)
        seen.add(key)
        run = history.runs.get(one.run)
        dropped = run is not None and run.status == "cancelled"
        if key not in known and not dropped and not excuses.cut_off(one):
            record = "recorded as lost" if key in history.lost_attempts else "on no record"
            what = f"attempt {one.attempt} under epoch {one.epoch} is {record}, and no fault"
            yield Violation("I5", one.run, one.step, f"{what} explains it")


def in_order(history: History) -> Iterator[Violation]:
    """I6: a body starts after all of the stage before it were committed."""
    commits = first_commits(history)
    before: dict[tuple[str, str], list[str]] = {}
    for pipeline, stages in history.plans.items():
        for earlier, stage in pairwise(stages):
            for step in stage:
                before[pipeline, step] = earlier
    for one in history.executions:
        own = one.step.partition("[")[0] + "[]" * ("[" in one.step)
        for step in before.get((one.pipeline, own), ()):
            commit = commits.get((one.run, step.removesuffix("[]")))
            if commit is None:
                what = f"started, and step {step} before it was never committed"
                yield Violation("I6", one.run, one.step, what)
            elif one.start < commit.at - TOLERANCE:
                early = (commit.at - one.start) / 1e9
                what = f"started {early:.3f} s before step {step} was committed"
                yield Violation("I6", one.run, one.step, what)
