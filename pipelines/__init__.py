"""The pipelines of this project; importing the package declares them all."""

from pipelines import demo, scrape, tour

__all__ = ["demo", "scrape", "tour"]
