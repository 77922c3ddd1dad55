"""A plot as SVG: a panel for each figure, a bar for each contender, on a logarithmic scale."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import floor, log10

from tests.benchmarks.contenders import OURS
from tests.benchmarks.figures import FIGURES
from tests.benchmarks.report.numbers import shown
from tests.benchmarks.summary import Spread, Summary

_PANELS = ("five.bulk", "five.stream", "one.bulk", "lone.done.p50", "enqueue.single",
           "enqueue.bulk", "io.threads", "io.async", "memory.pss", "task.rate",
           "history.five")  # fmt: skip
_WIDTH, _LEFT, _RIGHT, _ROW, _HEAD = 760, 230, 90, 20, 38
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 13px }
.unit { fill: #59636e }
.bar { fill: #8c959f } .ours { fill: #0969da }
.spread { stroke: #1f2328; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .unit { fill: #9198a1 } .spread { stroke: #e6edf3 }
  .bar { fill: #656c76 } .ours { fill: #4493f8 }
}
"""


def plot(summary: Summary, titles: Mapping[str, str]) -> str:
    """Median as a bar, least to most as a line, of the figures that several have."""
    parts: list[str] = []
    top = 8
    for figure in _PANELS:
        spreads = {
            titles.get(name, name): (name, spread)
            for name in summary.rounds.get(figure, {})
            if (spread := summary.spread(figure, name)) is not None
        }
        if len(spreads) > 1:
            parts += _panel(figure, spreads, top)
            top += _HEAD + _ROW * len(spreads) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}"'
        f' viewBox="0 0 {_WIDTH} {top}"><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
    )


def _panel(figure: str, spreads: Mapping[str, tuple[str, Spread]], top: int) -> Iterator[str]:
    about = FIGURES[figure]
    better = "more" if about.more_is_better else "less"
    yield (
        f'<text class="title" x="8" y="{top + 14}">{escape(about.title)} '
        f'<tspan class="unit">{escape(about.unit)}, {better} is better</tspan></text>'
    )
    scale = _Scale([spread for _, spread in spreads.values()])
    order = sorted(
        spreads.items(), key=lambda item: item[1][1].median, reverse=about.more_is_better
    )
    for place, (title, (name, spread)) in enumerate(order):
        y = top + _HEAD - 12 + place * _ROW
        kind = "bar ours" if name in (OURS, "app-task") else "bar"
        yield (
            f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(title)}</text>'
            f'<rect class="{kind}" x="{_LEFT}" y="{y + 2}" height="{_ROW - 6}"'
            f' width="{scale(spread.median) - _LEFT:.1f}"/>'
            f'<line class="spread" x1="{scale(spread.least):.1f}" x2="{scale(spread.most):.1f}"'
            f' y1="{y + 9}" y2="{y + 9}"/>'
            f'<text x="{scale(spread.most) + 6:.1f}" y="{y + 12}">{shown(spread.median)}</text>'
        )


class _Scale:
    """Where a value is: decades are equally wide; from one that is below all."""

    def __init__(self, spreads: Sequence[Spread]) -> None:
        least, most = min(one.least for one in spreads), max(one.most for one in spreads)
        self._low = floor(log10(least) - 0.3)
        self._width = max(log10(most) - self._low, 0.1)

    def __call__(self, value: float) -> float:
        share = (log10(value) - self._low) / self._width
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
