"""Whether a result was committed once, as it was returned, and its step not executed again."""

from collections.abc import Iterator

from taskplatform.verify.judge.excuses import Excuses
from taskplatform.verify.judge.history import Commit, History, Violation

# The audit stamps a row before its commit; two clocks were compared over a round trip.
TOLERANCE = 3_000_000


def not_again(history: History, excuses: Excuses) -> Iterator[Violation]:
    """I2: no body starts after the commit of its step."""
    commits = first_commits(history)
    for one in history.executions:
        commit = commits.get((one.run, one.step))
        if commit is None or one.start <= commit.at + TOLERANCE:
            continue
        if excuses.woke_up(one, commit.epoch):
            continue
        late = (one.start - commit.at) / 1e9
        what = f"started {late:.3f} s after its commit (epoch {one.epoch}, then {commit.epoch})"
        yield Violation("I2", one.run, one.step, what)


def committed_once(history: History) -> Iterator[Violation]:
    """I3: one commit for each step of a run, of what the attempt of that epoch returned."""
    returned = {
        (one.run, one.step, one.epoch, one.value) for one in history.executions if one.value
    }
    seen: dict[tuple[str, str], Commit] = {}
    for commit in history.commits:
        # What no body returns, such as a sleep's or a child's result, nobody wrote down.
        if commit.reused or not history.has_body(commit.run, commit.step):
            continue
        where = commit.run, commit.step
        if (first := seen.get(where)) is not None:
            what = f"was committed under epoch {first.epoch}, and again under {commit.epoch}"
            yield Violation("I3", *where, what)
        seen[where] = commit
        said = {(*where, epoch, commit.fingerprint) for epoch in (commit.epoch, 0)}
        if not said & returned:
            what = f"was committed under epoch {commit.epoch}, whose body returned no such value"
            yield Violation("I3", *where, what)
    for result in history.results:
        last = seen.get((result.run, result.step))
        if result.reused or not history.has_body(result.run, result.step):
            continue
        if last is None or (last.epoch, last.fingerprint) != (result.epoch, result.fingerprint):
            yield Violation("I3", result.run, result.step, "is stored otherwise than committed")


def first_commits(history: History) -> dict[tuple[str, str], Commit]:
    """The first commit of each step of each run."""
    found: dict[tuple[str, str], Commit] = {}
    for commit in history.commits:
        found.setdefault((commit.run, commit.step), commit)
    return found
