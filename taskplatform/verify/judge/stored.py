"""Whether what was accepted is there, ended, and the same for everybody: I1, I11, I12, I13."""

from collections.abc import Iterator

from taskplatform.verify.judge.history import History, Violation

ENDED = ("succeeded", "failed", "cancelled")


def nothing_lost(history: History) -> Iterator[Violation]:
    """I1: each accepted run exists and has ended; nothing exists that nobody asked for."""
    asked = [one for one in history.operations if one.do == "enqueue"]
    accepted = {one.run for one in asked if one.told == "ok"}
    requests = {one.request for one in asked if one.request is not None}
    # A call without an id of its own, whose answer was lost, may have made a run of any id.
    nameless = sum(1 for one in asked if one.request is None and one.told == "unknown")
    made: dict[str, str] = {}
    for run in sorted(one for one in accepted if one):
        if run not in history.runs:
            yield Violation("I1", run, "", "was accepted and does not exist")
    for one in history.runs.values():
        if one.id not in accepted and one.request not in requests and one.made_by is None:
            nameless -= one.request is None
            if one.request is not None or nameless < 0:
                yield Violation("I1", one.id, "", "exists, and nobody asked for it")
        if one.request is not None and (other := made.setdefault(one.request, one.id)) != one.id:
            what = f"was made for request {one.request}, as {other} was"
            yield Violation("I1", one.id, "", what)
        if one.status not in ENDED:
            state = f"{one.status} ({one.reason})" if one.reason else one.status
            yield Violation("I1", one.id, "", f"has not ended: it is {state}")


def at_rest(history: History) -> Iterator[Violation]:
    """I11: nothing is held, and nothing waits without a reason; no two waited for each other."""
    if history.held:
        yield Violation("I11", "", "", f"{history.held} work rows are held by somebody in the end")
    for run in history.stuck:
        yield Violation("I11", run, "", "has neither an end nor a reason to wait")
    if history.deadlocks:
        yield Violation("I11", "", "", f"the database ended {history.deadlocks} deadlocks")


def all_agree(history: History) -> Iterator[Violation]:
    """I12: what clients were told, what bodies returned and what is stored are one."""
    for one in history.operations:
        run = history.runs.get(one.run or "")
        if one.do == "cancel" and one.told == "ok" and run and run.status != "cancelled":
            what = f"its cancel was acknowledged, and it is {run.status}"
            yield Violation("I12", run.id, "", what)
    stored: dict[str, set[str]] = {}
    for result in history.results:
        stored.setdefault(result.run, set()).add(result.step)
    for run in history.runs.values():
        if run.status == "succeeded":
            plan = history.plans[run.pipeline]
            # Of a map the list is stored under its own name, also if there was nothing to do.
            wanted = {step.removesuffix("[]") for stage in plan for step in stage}
            for step in sorted(wanted - stored.get(run.id, set())):
                yield Violation("I12", run.id, step, "has no output, and the run succeeded")


def his_own(history: History) -> Iterator[Violation]:
    """I13: a run comes to what its last caller wants, or to what one does who was told nothing.

    Callers of one key come one after the other.
    """
    wanted: dict[str, set[str]] = {}
    latest: dict[tuple[str, str | None], str] = {}
    for one in history.operations:
        if one.wants is None:
            continue
        if one.told == "ok" and one.run:
            wanted[one.run] = {one.wants}
            latest[one.pipeline, one.key] = one.run
        elif one.key is not None and (one.pipeline, one.key) in latest:
            wanted[latest[one.pipeline, one.key]].add(one.wants)
    for result in history.results:
        run = history.runs.get(result.run)
        if run is None or result.run not in wanted or run.status != "succeeded":
            continue
        last = result.step in history.plans[run.pipeline][-1]
        if last and result.fingerprint not in wanted[run.id]:
            yield Violation("I13", run.id, result.step, "is not what its caller has asked for")
