"""The results as JSON: everything of which tables and plots are made."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tests.benchmarks.bars import Judged
from tests.benchmarks.contenders import OURS
from tests.benchmarks.figures import FIGURES
from tests.benchmarks.summary import Spread, Summary


def document(
    summary: Summary, judged: Sequence[Judged], about: Mapping[str, Any]
) -> dict[str, Any]:
    """For a file. `about` says when, where, of which versions and with which options."""
    return {
        **about,
        "figures": {
            name: {
                **asdict(FIGURES[name]),
                "contenders": {
                    contender: {
                        **_spread(summary.spread(name, contender)),
                        "rounds": rounds,
                        "of_all_samples": summary.pooled.get(name, {}).get(contender),
                        "ratio": _spread(summary.ratio(name, OURS, contender)),
                    }
                    for contender, rounds in of.items()
                },
            }
            for name, of in summary.rounds.items()
            if name in FIGURES
        },
        "bars": [
            {**asdict(one.bar), "got": one.got, "met": one.met, "goal_met": one.goal_met}
            for one in judged
        ],
        "problems": summary.problems,
    }


def _spread(spread: Spread | None) -> dict[str, float]:
    return {} if spread is None else asdict(spread)
