"""Measure the platform beside others: `python -m tests.benchmarks`, from the repository's root.

Every contender has its turn alone, on the same servers, in at least three rounds whose order
rotates; what counts are the ratios within a round. Every execution of a step is counted from
outside. Exit code 1: a bar is missed, or the platform did not execute each step exactly once.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.bars import judge
from tests.benchmarks.contender import Contender
from tests.benchmarks.contenders import NAMES, OURS, absent, load
from tests.benchmarks.machine import describe
from tests.benchmarks.measures import MEASURES
from tests.benchmarks.report.document import document
from tests.benchmarks.report.plot import plot
from tests.benchmarks.report.table import bars, table
from tests.benchmarks.rounds import take
from tests.benchmarks.servers import Servers, servers
from tests.benchmarks.session import Plan
from tests.benchmarks.summary import Summary

_FULL = Plan(seconds=1.5, lone=334, silences=2, backlog=20_000, io=1000, idle=6.0)
_QUICK = replace(_FULL, seconds=0.4, lone=34, silences=1, idle=3.0)
_QUICK_MEASURES, _QUICK_CONTENDERS = ("rate", "latency"), (OURS, "chain")


def main() -> int:
    """Measure, print, write; return the exit code."""
    options = _options()
    contenders, missing = _contenders(options.contenders)
    for name, why in missing.items():
        print(f"not measured: {name}, as {why}", flush=True)
    measures = list(options.only)
    if "stability" in measures and not options.minutes:
        measures.remove("stability")
        print("not measured: stability, which wants --minutes", flush=True)
    summary = Summary()
    with servers() as shared:
        print(f"{options.rounds} rounds on {describe()['processor']}", flush=True)
        for name in measures:
            _measure(shared, name, contenders, options, summary)
        versions = shared.versions()
    titles = {name: load(name).title for name in contenders}
    judged = judge(summary)
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "versions": versions,
        "contenders": {name: _said(load(name)) for name in contenders},
        "missing": missing,
        "quick": options.quick,
        "measures": measures,
    }
    _write(options.output, document(summary, judged, about), plot(summary, titles))
    print(f"\n{table(summary, titles)}\n\n{bars(judged)}\n\nwritten to {options.output}")
    failed = [one for one in judged if not one.met]
    print(f"{len(judged) - len(failed)} of {len(judged)} bars met")
    for name, problems in summary.problems.items():
        print(f"WENT WRONG: {name}: {'; '.join(problems)}", file=sys.stderr)
    return 1 if failed or _ours_failed(summary) else 0


def _measure(
    shared: Servers, name: str, contenders: Sequence[str], options: Any, summary: Summary
) -> None:
    measure = MEASURES[name]
    plan: Plan = options.plan
    wanted = [one for one in measure.contenders if one in contenders]
    if not wanted:
        print(f"not measured: {name}, as none of {', '.join(measure.contenders)} is", flush=True)
        return
    rounds = 1 if name == "stability" else options.rounds
    summary.add(take(shared, measure, wanted, plan, rounds))


def _said(contender: type[Contender]) -> dict[str, Any]:
    return {
        "title": contender.title,
        "package": contender.package,
        "version": contender.version(),
        "durable": contender.durable,
    }


def _contenders(wanted: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    missing = {name: why for name in wanted if (why := absent(name)) is not None}
    return [name for name in wanted if name not in missing], missing


def _ours_failed(summary: Summary) -> bool:
    ours = {OURS, "app-task", *MEASURES["history"].databases}
    return bool(ours & summary.problems.keys())


def _write(output: Path, found: dict[str, Any], drawn: str) -> None:
    output.write_text(json.dumps(found, indent=2) + "\n")
    output.with_suffix(".svg").write_text(drawn)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--quick", action="store_true", help="less than a minute, noisier")
    parser.add_argument("--rounds", type=int, default=3, help="default 3, and no fewer")
    parser.add_argument("--minutes", type=float, default=0.0, help="of load, for `stability`")
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="MEASURE",
                        help=", ".join(MEASURES))  # fmt: skip
    parser.add_argument("--contenders", nargs="+", choices=NAMES, metavar="CONTENDER",
                        help=", ".join(NAMES))  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("benchmarks.json"),
                        help="a plot is written beside it")  # fmt: skip
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error("--rounds: a median needs at least 3")
    quick = options.quick
    options.only = options.only or (_QUICK_MEASURES if quick else tuple(MEASURES))
    options.contenders = options.contenders or (_QUICK_CONTENDERS if quick else NAMES)
    options.plan = replace(_QUICK if quick else _FULL, minutes=options.minutes)
    return options


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(main())
