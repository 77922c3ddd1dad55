"""The pipelines of this project; importing the package declares them all."""

from pipelines import announce, demo, scrape, tour

__all__ = ["announce", "demo", "scrape", "tour"]
