"""Help for tests of pipelines."""

from taskplatform.testing.clock import advance

__all__ = ["advance"]
