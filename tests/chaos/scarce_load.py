"""A client of the storms under limits; it knows what each of its callers has to get."""

import json
import random
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

from taskplatform import Pipeline
from taskplatform.errors import KeyBusy, Unavailable
from taskplatform.verify.client_log import ClientLog
from taskplatform.verify.judge.fingerprint import fingerprint
from tests.chaos.load import Load, four_enqueue
from tests.chaos.mutants import become
from tests.chaos.scarce import Wish, burst, lone, made, pack, scarce

KINDS = {"scarce": scarce, "pack": pack, "burst": burst, "lone": lone}
SHARES = (35, 30, 25, 10)
LAST = {"scarce": "press", "pack": "ship", "burst": "once"}


class Client:
    """Enqueues one wish after the other, until somebody answers or the time is over."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.deadline = time.monotonic() + load.most
        folder = Path(load.folder)
        self.ledger = str(folder / "ledger")
        self.book = ClientLog(folder / "clients", load.pipeline)

    def enqueue(self, number: int) -> None:
        """Ask for one run, until somebody answers."""
        dice = random.Random(f"{self.load.seed}:{number}")
        (name,) = dice.choices(list(KINDS), SHARES)
        # Of a burst the last call decides: there is a last one, since a key has one client.
        group = threading.current_thread().name if name == "burst" else f"g{dice.randrange(3)}"
        wish = Wish(
            folder=self.ledger,
            number=number,
            api=self.load.api,
            group=group,
            seconds=self.load.work
            or (dice.choice([0.0, 0.02, 0.1, 0.4]) if name != "scarce" else 0.05),
        )
        request = None if name == "burst" else f"{self.load.seed}-{number}"
        step = LAST.get(name)
        told = {
            "pipeline": name,
            "request": request,
            "key": group if name in ("burst", "lone") else None,
            "wants": fingerprint(made(wish, step).model_dump(mode="json")) if step else None,
        }
        while time.monotonic() < self.deadline:
            if self._ask(KINDS[name], wish, request, told):
                return
            time.sleep(dice.uniform(0.05, 0.3))

    def _ask(
        self,
        pipeline: Pipeline[Wish],
        wish: Wish,
        request: str | None,
        told: dict[str, str | None],
    ) -> bool:
        op = str(uuid4())
        self.book.write("invoke", op, "enqueue", **told)
        try:
            run = pipeline.enqueue(wish, request_id=request)
        except (Unavailable, KeyBusy) as error:
            self.book.write("unknown", op, "enqueue", error=str(error), **told)
            return False
        self.book.write("ok", op, "enqueue", run=str(run.id), **told)
        return True


def main(load: Load) -> None:
    """Enqueue until the standard input says that the nemesis has ended, and wait for its end."""
    client = Client(load)
    four_enqueue(load, client.deadline, client.enqueue)
    sys.stdin.read()


if __name__ == "__main__":
    become()
    main(Load(**json.loads(sys.argv[1])))
