"""Run the benchmark: `python -m tests.benchmarks [--quick]`, from the repository's root.

The platform's five-step pipeline (typed, validated, every step durable before the next one)
against Celery's chain of five tasks (nothing stored), both without work in their bodies, on the
same embedded PostgreSQL and Valkey, two processes each, alternating, never both at once. Counted
from before the first enqueue to the end of the last run: for the platform, its commit as another
connection sees it; for the chain, its last body. Exit code 1: the bar is missed, or a step was not
executed exactly once.
"""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.contenders import CONCURRENCY, Broken, Chain, Contender, Platform
from tests.benchmarks.machine import describe
from tests.benchmarks.measure import Found, Session, Sizes
from tests.benchmarks.report import BAR, Pair, shortcomings, summary, table
from tests.benchmarks.servers import Servers, servers

FULL = {
    "platform": Sizes(bulk=10_000, stream=2_500, one_step=15_000, lone=100, cold=8),
    "chain": Sizes(bulk=250, stream=250, one_step=1_200, lone=100, cold=8),
}
QUICK = {
    "platform": Sizes(bulk=2_500, stream=300, one_step=3_000, lone=34, cold=1),
    "chain": Sizes(bulk=60, stream=40, one_step=150, lone=34, cold=1),
}


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--quick", action="store_true", help="less than a minute, noisier")
    parser.add_argument("--rounds", type=int, default=3, help="default 3, and no fewer")
    parser.add_argument("--output", type=Path, default=Path("benchmarks.json"))
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error("--rounds: a median needs at least 3")
    sizes = QUICK if options.quick else FULL
    with servers() as shared:
        print(f"{options.rounds} rounds on {describe()['processor']}, both sides", flush=True)
        try:
            rounds = [_round(shared, sizes, number) for number in range(options.rounds)]
        except Broken as error:
            print(f"no result: {error}", file=sys.stderr)
            return 1
        versions = shared.versions()
    found = summary(rounds)
    missed = shortcomings(found)
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "versions": {**versions, **{name: version(name) for name in ("celery", "psycopg")}},
        "concurrency": CONCURRENCY,
        "sizes": {name: asdict(one) for name, one in sizes.items()},
        "bar": {"bulk_ratio": BAR, "met": not missed, "missed": missed},
        **found,
        "rounds": [{"platform": asdict(ours), "chain": asdict(theirs)} for ours, theirs in rounds],
    }
    options.output.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\n{table(found)}\n\nwritten to {options.output}")
    for one in missed:
        print(f"BELOW THE BAR: {one}", file=sys.stderr)
    return 1 if missed else 0


def _round(shared: Servers, sizes: dict[str, Sizes], number: int) -> Pair:
    contenders: list[Contender] = [Platform(shared), Chain(shared)]
    # Whoever comes second finds a warmer machine: take turns.
    found: dict[str, Found] = {}
    for one in contenders if number % 2 == 0 else reversed(contenders):
        found[one.name] = Session(one, shared, sizes[one.name]).measure()
        print(f"round {number + 1}, {one.name}: {found[one.name].bulk:,.0f} runs/s", flush=True)
    return found["platform"], found["chain"]


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(main())
