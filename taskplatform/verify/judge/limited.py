"""Whether limits and keys were kept: I7, I8, I9."""

from collections import defaultdict
from collections.abc import Iterator
from operator import itemgetter

from taskplatform.verify.judge.excuses import Excuses
from taskplatform.verify.judge.history import Execution, History, Violation
from taskplatform.verify.judge.stored import ENDED

# A grant may be used within one per cent of the window after it was given.
SHARE = 0.01


def windows_kept(history: History) -> Iterator[Violation]:
    """I7: never more calls than the limit in any window, as the outside API saw them."""
    slept = {pid for one in history.faults if one.kind.startswith("pause") for pid in one.pids}
    by_sleepers = {(one.run, one.step) for one in history.executions if one.pid in slept}
    calls: dict[str, list[int]] = defaultdict(list)
    for call in history.calls:
        # Between a grant and its call a process can be put to sleep; nobody can check for that.
        if (call.run, call.step) not in by_sleepers:
            calls[call.limit].append(call.at)
    for name, times in calls.items():
        if name not in history.limits:
            continue
        limit, per = history.limits[name]
        window = int(per * (1 - SHARE) * 1e9)
        times.sort()
        for place in range(limit, len(times)):
            if times[place] - times[place - limit] < window:
                took = (times[place] - times[place - limit]) / 1e9
                what = f"{limit + 1} calls within {took:.3f} s, {limit} are allowed in {per:g} s"
                yield Violation("I7", "", name, what)


def keys_owned_once(history: History) -> Iterator[Violation]:
    """I8: never two active runs of one key."""
    active: dict[tuple[str, str], set[str]] = defaultdict(set)
    for change in history.changes:
        run = history.runs.get(change.run)
        if run is None or run.key is None or not run.owns_key:
            continue
        owners = active[run.pipeline, run.key]
        if change.status in ENDED:
            owners.discard(run.id)
            continue
        owners.add(run.id)
        if len(owners) > 1:
            others = ", ".join(sorted(owners - {run.id}))
            yield Violation("I8", run.id, "", f"has key {run.key!r}, which {others} owns")


def concurrency_kept(history: History) -> Iterator[Violation]:
    """I9: never more bodies at once in a worker than it may execute."""
    if not history.concurrency:
        return
    edges: dict[int, list[tuple[int, int, Execution]]] = defaultdict(list)
    for one in history.executions:
        # Of one that has no end nobody knows until when it lived: until its start, at least.
        if one.end is not None and not one.member:
            edges[one.worker] += [(one.start, 1, one), (one.end, -1, one)]
    for worker, events in edges.items():
        alive = 0
        # Of two at the same moment the end comes first.
        for _, step, one in sorted(events, key=lambda event: event[:2]):
            alive += step
            if step > 0 and alive > history.concurrency:
                what = f"is execution {alive} at once in worker {worker}"
                yield Violation("I9", one.run, one.step, f"{what}, of {history.concurrency}")


def slots_kept(history: History, excuses: Excuses) -> Iterator[Violation]:
    """I9: never more bodies at once under a limit than it allows.

    An execution counts until its end, its death, or the moment from which its lease may be gone.
    """
    edges: dict[str, list[tuple[int, int, int, Execution]]] = defaultdict(list)
    for one in history.executions:
        for gate, most in one.under.items():
            edges[gate] += [(one.start, 1, most, one), (excuses.holds_until(one), -1, most, one)]
    for gate, events in edges.items():
        alive = 0
        # Of two at the same moment the end comes first.
        for _, step, most, one in sorted(events, key=itemgetter(0, 1)):
            alive += step
            if step > 0 and alive > most:
                what = f"is execution {alive} at once under {gate}, of {most}"
                yield Violation("I9", one.run, one.step, what)
