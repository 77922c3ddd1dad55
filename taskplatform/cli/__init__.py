"""The command `taskplatform`."""

import sys
from typing import NoReturn

from taskplatform.cli.failures import run
from taskplatform.cli.root import root


def main() -> NoReturn:
    """Execute the command line and exit with its code."""
    sys.exit(run(root, sys.argv[1:]))
