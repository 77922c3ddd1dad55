"""Markdown tables: a row for each figure and contender, and one for each bar."""

from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks.bars import Judged
from tests.benchmarks.contenders import OURS
from tests.benchmarks.figures import FIGURES
from tests.benchmarks.report.numbers import shown, shown_spread
from tests.benchmarks.summary import Summary

_HEAD = ("Measure", "Contender", "Median (least-most)", "Ours by theirs")


def table(summary: Summary, titles: Mapping[str, str]) -> str:
    """Every figure of every contender, ratios where the platform has the figure too."""
    rows: list[Sequence[str]] = []
    for figure in (name for name in FIGURES if name in summary.rounds):
        rows += _rows(summary, figure, titles)
    return _markdown(_HEAD, rows)


def bars(judged: Sequence[Judged]) -> str:
    """Every bar that was measured."""
    rows = [
        (
            FIGURES[one.bar.figure].title + (f", {one.bar.ours}" if one.bar.ours != OURS else ""),
            one.bar.against or FIGURES[one.bar.figure].unit,
            f"{one.bar.least} {shown(one.bar.bar)}{_times(one)}",
            f"{shown(one.bar.goal)}{_times(one)}",
            f"{shown(one.got)}{_times(one)}",
            "goal" if one.goal_met else "met" if one.met else "MISSED",
        )
        for one in judged
    ]
    return _markdown(("Measure", "Against, or unit", "Bar", "Goal", "Measured", ""), rows)


def _rows(summary: Summary, figure: str, titles: Mapping[str, str]) -> Iterator[Sequence[str]]:
    first = f"{FIGURES[figure].title}, {FIGURES[figure].unit}"
    for contender in summary.rounds[figure]:
        spread = summary.spread(figure, contender)
        if spread is None:
            continue
        value = shown_spread(spread)
        pooled = summary.pooled.get(figure, {}).get(contender)
        if pooled is not None:
            value += f"; of all {shown(pooled)}"
        base = "empty" if "empty" in summary.rounds[figure] else OURS
        ratio = None if contender == base else _ratio(summary, figure, base, contender)
        yield first, titles.get(contender, contender), value, ratio or ""
        first = ""


def _ratio(summary: Summary, figure: str, base: str, contender: str) -> str | None:
    # In a table of databases the empty one is what the others are measured by.
    pair = (contender, base) if base == "empty" else (base, contender)
    ratio = summary.ratio(figure, *pair)
    return None if ratio is None else f"{shown_spread(ratio)}x"


def _times(one: Judged) -> str:
    return "x" if one.bar.against else ""


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )
