"""The soak: 10,000 runs of five steps and more than 200 faults of all kinds, by one seed.

`python -m tests.chaos.soak [SEED]`; prints the verdict, exits 1 unless it is a pass of so many
runs. About twenty minutes; the history stays if it is none.
"""

import random
import shutil
import sys
import tempfile
from pathlib import Path

from taskplatform.verify.faults.nemesis import KINDS
from taskplatform.verify.judge.verdict import PASS
from tests.chaos.load import Load
from tests.chaos.storm import Storm, storm

RUNS, RATE, LEAST = 10_000, 13.0, 200
# Some are asked for with a key that another has.
ASKED = 10_700
EACH = dict.fromkeys(KINDS, 8) | {"kill-child": 20, "failpoint": 20}
# Seconds between two faults, so that they last as long as the load does.
PAUSE = 2.0


def main() -> int:
    """Let it come, and print what is left."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10**6)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"seed {seed}, history in {folder}", flush=True)
    load = Load(folder="", api="", seed=seed, many=ASKED, rate=RATE, most=3600.0, on=True)
    wanted = Storm(seed, EACH, load, pause=PAUSE, most=2400.0, settle=600.0, least=LEAST)
    verdict, seconds = storm(folder, wanted)
    print(verdict.text())
    print(f"took        {seconds / 60:.1f} min")
    if verdict.verdict != PASS or verdict.runs < RUNS:
        print(f"history     {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
