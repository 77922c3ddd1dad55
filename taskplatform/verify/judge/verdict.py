"""The verdict: what was broken, how much was done, and whether that is enough to say anything."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from taskplatform.verify.judge import fence, limited, once, recorded, stored
from taskplatform.verify.judge.excuses import Excuses
from taskplatform.verify.judge.history import History, Violation
from taskplatform.verify.judge.reading import read

PASS, VIOLATED, INCONCLUSIVE = "pass", "violated", "inconclusive"
# With fewer, nothing may have been broken because nothing was done.
_ENOUGH = 0.9
_DRIFT = 0.05
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """Pass, violated or inconclusive; why; and the figures by which to judge the judge."""

    verdict: str
    why: str
    seed: int | None
    runs: int
    succeeded: int
    executions: int
    commits: int
    excess: int
    excused_starts: int
    refused: int
    restarts: int
    faults: dict[str, int]
    left_out: dict[str, str]
    violations: list[Violation] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def text(self) -> str:
        """For people."""
        lines = [
            f"verdict     {self.verdict.upper()}: {self.why}",
            f"seed        {self.seed}",
            f"runs        {self.runs}, {self.succeeded} succeeded",
            f"executions  {self.executions}, {self.commits} commits",
            f"excess      {self.excess} executions cut off by a fault, "
            f"{self.excused_starts} starts of processes that had slept",
            f"refused     {self.refused} late writes",
            f"restarts    {self.restarts} workers that had ended by themselves",
            f"faults      {sum(self.faults.values())} of {len(self.faults)} kinds: "
            + ", ".join(f"{kind} {many}" for kind, many in sorted(self.faults.items())),
        ]
        lines += [f"left out    {kind}: {why}" for kind, why in self.left_out.items()]
        if self.verdict == PASS:
            bound = 300 / self.runs
            lines.append(
                f"bound       0 in {self.runs} runs: the true rate is below {bound:.2g} % (95 %)"
            )
        counts = Counter(one.invariant for one in self.violations)
        lines += [f"{name}          {many} violations" for name, many in sorted(counts.items())]
        for one in self.violations[:_SHOWN]:
            lines.append(
                f"  {one.invariant} {' '.join(filter(None, (one.run, one.step)))} {one.what}"
            )
        return "\n".join(lines)


def judge(folder: Path) -> Verdict:
    """Read the history in a folder and decide. Raises Unreadable."""
    return decide(read(folder))


def decide(history: History) -> Verdict:
    """Decide by all invariants."""
    excuses = Excuses(history)
    violations = list(_violations(history, excuses))
    succeeded = sum(1 for one in history.runs.values() if one.status == "succeeded")
    why = _unproven(history, succeeded)
    verdict = VIOLATED if violations else INCONCLUSIVE if why else PASS
    if violations:
        why = f"{len(violations)} violations of {len({one.invariant for one in violations})} kinds"
    return Verdict(
        verdict,
        why or "nothing lost, nothing done twice",
        history.seed,
        len(history.runs),
        succeeded,
        len(history.executions),
        len(history.commits),
        excuses.executions,
        excuses.starts,
        history.refused,
        history.restarts,
        dict(Counter(one.kind for one in history.faults)),
        history.left_out,
        violations,
    )


def _violations(history: History, excuses: Excuses) -> Iterator[Violation]:
    yield from stored.nothing_lost(history)
    yield from once.not_again(history, excuses)
    yield from once.committed_once(history)
    yield from fence.nothing_stale(history)
    yield from recorded.all_recorded(history, excuses)
    yield from recorded.in_order(history)
    yield from limited.windows_kept(history)
    yield from limited.keys_owned_once(history)
    yield from limited.concurrency_kept(history)
    yield from limited.slots_kept(history, excuses)
    yield from stored.his_own(history)
    yield from stored.at_rest(history)
    yield from stored.all_agree(history)


def _unproven(history: History, succeeded: int) -> str:
    if not history.executions or not history.runs:
        return "nothing was executed"
    if succeeded < _ENOUGH * len(history.runs):
        return f"only {succeeded} of {len(history.runs)} runs succeeded"
    if len(history.faults) < history.least:
        return f"only {len(history.faults)} faults of at least {history.least} were done"
    if abs(history.clock_drift) > _DRIFT:
        return f"the clocks drifted apart by {history.clock_drift:.3f} s"
    return ""
