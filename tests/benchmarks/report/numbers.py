"""Numbers as people read them."""

from tests.benchmarks.summary import Spread


def shown(value: float) -> str:
    """With three significant digits or so."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def shown_spread(spread: Spread) -> str:
    """The median, and least and most in parentheses."""
    return f"{shown(spread.median)} ({shown(spread.least)}-{shown(spread.most)})"
