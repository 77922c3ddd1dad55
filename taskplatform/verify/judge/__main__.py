"""`python -m taskplatform.verify.judge FOLDER [-o json]`; exits 0, 1 (violated) or 3."""

import argparse
import json
import sys
from pathlib import Path

from taskplatform.verify.judge.verdict import INCONCLUSIVE, PASS, VIOLATED, judge

_EXITS = {PASS: 0, VIOLATED: 1, INCONCLUSIVE: 3}


def main() -> int:
    """Print the verdict on a history."""
    parser = argparse.ArgumentParser(prog="judge", description="Judge a history.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", dest="form", choices=("text", "json"), default="text")
    given = parser.parse_args()
    verdict = judge(given.folder)
    print(json.dumps(verdict.as_json()) if given.form == "json" else verdict.text())
    return _EXITS[verdict.verdict]


if __name__ == "__main__":
    sys.exit(main())
