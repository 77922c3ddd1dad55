"""Imported by workers and clients beside the pipelines: breaks what the environment says."""

from tests.chaos.mutants import become

become()
