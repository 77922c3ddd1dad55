"""Whether anybody wrote who had been replaced: I4."""

from collections.abc import Iterator

from taskplatform.verify.judge.history import Commit, Grant, History, Violation


def nothing_stale(history: History) -> Iterator[Violation]:
    """I4: no commit under an epoch after a greater one was given out for the same branch."""
    branches: dict[int, tuple[str, str]] = {}
    highest: dict[tuple[str, str], int] = {}
    events: list[Grant | Commit] = [*history.grants, *history.commits]
    for one in sorted(events, key=lambda one: one.order):
        if isinstance(one, Grant):
            where = one.run, one.branch
            if one.epoch in branches:
                yield Violation("I4", one.run, "", f"epoch {one.epoch} was given out twice")
            elif one.epoch < highest.get(where, 0):
                what = f"epoch {one.epoch} was given out after {highest[where]}"
                yield Violation("I4", one.run, "", what)
            branches[one.epoch] = where
            highest[where] = max(one.epoch, highest.get(where, 0))
        elif not one.reused:
            where = branches.get(one.epoch, ("", ""))
            if where[0] != one.run:
                what = f"was committed under epoch {one.epoch}, which the run was never given"
                yield Violation("I4", one.run, one.step, what)
            elif one.epoch < highest[where]:
                what = f"was committed under epoch {one.epoch} after {highest[where]} was given out"
                yield Violation("I4", one.run, one.step, what)
