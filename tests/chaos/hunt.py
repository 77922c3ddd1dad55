"""Testing the judge on the platform itself: each mutant has to be found, the platform not.

`python -m tests.chaos.hunt [NAME...]`; prints a line for each and exits 1 if one went unnoticed.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from taskplatform.verify.judge.verdict import PASS, VIOLATED, Verdict
from tests.chaos.load import Load
from tests.chaos.mutants import MUTANTS, Mutant
from tests.chaos.plain_chain import plain_chain
from tests.chaos.storm import LoadBroke, Storm, storm

_HEALTHY = "the platform itself"
_PLAIN = "Celery's own chain"
# Each kind that any mutant is hunted with.
_ALL = {kind: 2 for one in MUTANTS.values() for kind in one.faults} | {"kill-child": 4}


def main(names: list[str]) -> int:
    """Hunt the mutants of these names, or all of them, the platform and plain Celery besides."""
    seed = random.randrange(10**6)
    unnoticed = 0
    for name in names or [_HEALTHY, _PLAIN, *MUTANTS]:
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="hunt-", ignore_cleanup_errors=True) as folder:
                verdict = _hunt(Path(folder) / "history", name, seed)
        except LoadBroke as error:
            # A mutant that cannot even be called any more is not found by luck either.
            unnoticed += 1
            print(f"BROKEN {name:32} {error}", flush=True)
            continue
        wanted = PASS if name == _HEALTHY else VIOLATED
        found = verdict.verdict == wanted
        unnoticed += not found
        kinds = Counter(one.invariant for one in verdict.violations)
        shown = ", ".join(f"{kind} {many}" for kind, many in sorted(kinds.items())) or verdict.why
        mark = "ok    " if found else "MISSED"
        print(f"{mark} {name:32} {shown} ({time.monotonic() - began:.0f} s)", flush=True)
        if name == _HEALTHY and not found:
            print(verdict.text(), flush=True)
    print(f"seed {seed}: {unnoticed} went unnoticed", flush=True)
    return 1 if unnoticed else 0


def _hunt(folder: Path, name: str, seed: int) -> Verdict:
    if name == _PLAIN:
        return plain_chain(folder, seed)
    mutant = MUTANTS[name] if name != _HEALTHY else Mutant("", lambda: None, _ALL)
    load = Load(
        folder="",
        api="",
        seed=seed,
        many=mutant.many,
        rate=mutant.rate,
        most=60.0,
        pipeline=mutant.pipeline,
        keyed=mutant.keyed,
        groups=30 if mutant.batch > 1 else 3,
        plain=mutant.plain,
        work=mutant.work,
        batch=mutant.batch,
    )
    wanted = Storm(
        seed,
        mutant.faults,
        load,
        pause=0.6,
        most=60.0,
        settle=mutant.settle,
        mutant=mutant.name,
    )
    return storm(folder, wanted)[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
