"""Needs: which earlier outputs the items of each map are given; no others are read for them."""

from taskplatform.core import registry
from taskplatform.core.shapes import Kind


class Needs:
    """What a claim is told of the maps known here; computed anew when a pipeline is declared."""

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._maps: dict[str, tuple[str, ...]] = {}

    def of_maps(self) -> dict[str, tuple[str, ...]]:
        """The steps whose outputs an item is given, by the map's `pipeline.step`."""
        known = registry.names()
        if known != self._known:
            self._maps = {
                step.task_name: step.needs
                for declaration in registry.all()
                for step in declaration.steps
                if step.kind is Kind.MAP
            }
            self._known = known
        return self._maps
