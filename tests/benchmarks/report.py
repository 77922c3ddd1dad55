"""What the rounds say together: medians, spreads, ratios, and whether the bar is met."""

from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.measure import Found

# The bar: so many times the chain's rate, and a lone run faster than the chain's.
BAR = 10.0

Pair = tuple[Found, Found]
Value = Callable[[Found], float]

_MEASURES: dict[str, tuple[str, Value]] = {
    "bulk_runs_per_second": ("5 steps, bulk enqueue, runs/s", lambda one: one.bulk),
    "stream_runs_per_second": ("5 steps, single enqueues, runs/s", lambda one: one.stream),
    "one_step_runs_per_second": ("1 step, bulk enqueue, runs/s", lambda one: one.one_step),
    "cpu_ms_per_run": ("5 steps, CPU of all processes, ms/run", lambda one: one.cpu_ms),
    "lone_p50_ms": ("lone run, p50, ms", lambda one: median(one.lone)),
    "cold_p50_ms": ("lone run after 1.2 s of silence, p50, ms", lambda one: median(one.cold)),
}


def summary(rounds: Sequence[Pair]) -> dict[str, Any]:
    """Of every measure, for both contenders: median, least, most; and the median of the ratios."""
    measures = {}
    for name, (_, value) in _MEASURES.items():
        platform, chain = ([value(pair[side]) for pair in rounds] for side in (0, 1))
        ratios = [ours / theirs for ours, theirs in zip(platform, chain, strict=True)]
        measures[name] = {
            "platform": _spread(platform),
            "chain": _spread(chain),
            "ratio": _spread(ratios),
        }
    return {
        "measures": measures,
        "latency_ms": {
            kind: {
                "platform": _percentiles([one for pair in rounds for one in take(pair[0])]),
                "chain": _percentiles([one for pair in rounds for one in take(pair[1])]),
            }
            for kind, take in _LATENCIES.items()
        },
        "platform_database": {
            "commits_per_run": _spread([pair[0].commits or 0.0 for pair in rounds]),
            "wal_bytes_per_run": _spread([pair[0].wal_bytes or 0.0 for pair in rounds]),
        },
    }


def shortcomings(found: dict[str, Any]) -> list[str]:
    """Where the bar is missed."""
    measures, missed = found["measures"], []
    ratio = measures["bulk_runs_per_second"]["ratio"]["median"]
    if ratio < BAR:
        missed.append(f"bulk: {ratio:.1f} times the chain's runs/s, wanted {BAR:g}")
    ours, theirs = (measures["lone_p50_ms"][side]["median"] for side in ("platform", "chain"))
    if ours >= theirs:
        missed.append(f"lone run: p50 is {ours:.1f} ms, the chain's {theirs:.1f} ms")
    return missed


def table(found: dict[str, Any]) -> str:
    """For people: median (least-most)."""
    head = f"{'':44}{'platform':>24}{'Celery chain':>24}{'ratio':>20}"
    lines = [head, "-" * len(head)]
    for name, (title, _) in _MEASURES.items():
        one = found["measures"][name]
        ratio = f"{_shown(one['ratio'])}x"
        lines.append(
            f"{title:44}{_shown(one['platform']):>24}{_shown(one['chain']):>24}{ratio:>20}"
        )
    lines.append("")
    for kind, both in found["latency_ms"].items():
        for side, values in both.items():
            shown = "  ".join(
                f"{name} {value:.1f}" for name, value in values.items() if name != "n"
            )
            lines.append(f"{kind} run, {side}: {shown} ms (n = {values['n']})")
    database = found["platform_database"]
    lines.append(
        f"\nplatform, per bulk run: {_shown(database['commits_per_run'])} commits, "
        f"{_shown(database['wal_bytes_per_run'])} bytes of WAL"
    )
    return "\n".join(lines)


_LATENCIES: dict[str, Callable[[Found], list[float]]] = {
    "lone": lambda one: one.lone,
    "cold": lambda one: one.cold,
}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    return {
        "p50": cuts[49],
        "p95": cuts[94],
        "p99": cuts[98],
        "max": max(values),
        "n": len(values),
    }


def _shown(spread: dict[str, float]) -> str:
    digits = 0 if spread["median"] >= 100 else 1 if spread["median"] >= 10 else 2
    shown = [f"{spread[name]:,.{digits}f}" for name in ("median", "min", "max")]
    return f"{shown[0]} ({shown[1]}-{shown[2]})"
