"""Two transitions at once, at the boundaries of the first: as if one had come after the other.

TASKPLATFORM_RACES_EXAMPLES=2000 halts before every statement; without it before the second and
the last one, and once to die there.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import product
from time import monotonic
from typing import Any

import pytest

from taskplatform.errors import TaskPlatformError
from tests.integration.models import outcome
from tests.integration.models.scenes import SCENES, Facts, Scene
from tests.integration.models.stepwise import Killed, Stepwise
from tests.integration.models.test_life import FEW
from tests.integration.races import shape_facts
from tests.integration.races.stage import Stage

_ALIVE = 20.0
EVERYWHERE = int(os.environ.get("TASKPLATFORM_RACES_EXAMPLES", "0")) > FEW


class Pair:
    """Two sessions, one of which halts, and what comes of it."""

    def __init__(self, stage: Stage, scene: Scene) -> None:
        self.stage = stage
        self.scene = scene
        self.first, self.second = Stepwise.open(stage.url), Stepwise.open(stage.url)
        self.waited = self.halts = self.left_out = 0
        self._serial: dict[tuple[tuple[str, ...], tuple[str, ...]], outcome.State] = {}
        self._lengths: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(2)

    def close(self) -> None:
        self._threads.shutdown()
        self.first.close()
        self.second.close()

    def set(self) -> Facts:
        outcome.clear(self.stage)
        return self.scene.set(self.stage)

    def statements(self, name: str) -> int:
        """How many statements and commits it takes, if nobody else is there."""
        if name not in self._lengths:
            facts = self.set()
            self.first.go_on_freely()
            self.answer(self.first, name, facts)
            self._lengths[name] = self.first.count
        return self._lengths[name]

    def one_by_one(self, names: tuple[str, ...], again: tuple[str, ...]) -> outcome.State:
        """The state after these, one after the other, and the answers of those who get one."""
        # Each order is that of two pairs, and each one alone that of many.
        if (names, again) not in self._serial:
            facts = self.set()
            said = [(name, self.answer(self.second, name, facts)) for name in names]
            self._serial[names, again] = self.what_came(facts, said, again)
        return self._serial[names, again]

    def at_once(
        self, one: str, other: str, halt: int, dies: bool, again: tuple[str, ...]
    ) -> outcome.State:
        """The state after the other came while one halted."""
        facts = self.set()
        self.first.halt(halt, dies=dies)
        began = self._threads.submit(self.arriving, one, facts)
        assert self.first.arrived.wait(_ALIVE)
        assert self.first.halted
        self.halts += 1
        came = self._threads.submit(self.answer, self.second, other, facts)
        try:
            self.waited += self.ends_or_waits(came)
        finally:
            self.first.let_go()
        said = [(one, began.result(_ALIVE)), (other, came.result(_ALIVE))]
        self.first.go_on_freely()
        state = self.what_came(facts, said[dies:], again)
        found = shape_facts.wrong(self.stage)
        assert not found, found
        return state

    def arriving(self, name: str, facts: Facts) -> Any:
        try:
            return self.answer(self.first, name, facts)
        finally:
            self.first.arrived.set()

    def ends_or_waits(self, came: Future[Any]) -> bool:
        """Whether it waits for a lock of the one that halts."""
        pid, until = self.second.info.backend_pid, monotonic() + _ALIVE
        while not wait([came], timeout=0.001).done:
            if self.stage.value("SELECT cardinality(pg_blocking_pids(%s))", pid):
                return True
            assert monotonic() < until
        return False

    def answer(self, session: Stepwise, name: str, facts: Facts) -> Any:
        """What it answers, or the name of the error that says no."""
        try:
            return self.scene.do(name)(session, facts)
        except TaskPlatformError as error:
            return type(error).__name__
        except Killed:
            return None

    def what_came(
        self, facts: Facts, said: list[tuple[str, Any]], again: tuple[str, ...]
    ) -> outcome.State:
        acts = self.scene.acts
        for name in again:
            self.answer(self.second, name, facts)
        return [
            *outcome.state(self.stage, facts),
            sorted((one for one in said if one[0] in acts), key=repr),
        ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENES)
def test_two_at_once_are_one_after_the_other(
    stage: Stage, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """G3, G5, G7, G10, F42: whoever dies or goes on in the middle, the outcome is a serial one."""
    scene = SCENES[name]
    pair = Pair(stage, scene)
    pairs = list(product([*scene.acts, *scene.duties], repeat=2))
    began = monotonic()
    wrong = [found for one, other in pairs for found in unserial(pair, one, other)]
    pair.close()
    with capsys.disabled():
        print(
            f"\n{name}: {len(pairs)} pairs, {pair.halts} halts ({pair.left_out} left out),"
            f" the other waited in {pair.waited}, {monotonic() - began:.1f} s"
        )
    assert not wrong, "\n".join(wrong)
    stage.connection.execute("SELECT pg_stat_force_next_flush()")
    assert not stage.value(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )


def unserial(pair: Pair, one: str, other: str) -> Iterator[str]:
    """The interleavings of two whose outcome is none of a serial order."""
    again = tuple(name for name in pair.scene.duties if name in (one, other))
    statements = pair.statements(one)
    if statements < 2:
        return
    serial = [pair.one_by_one(two, again) for two in ((one, other), (other, one))]
    alone = [pair.one_by_one((other,), again)]
    some = {2, statements}
    halts = [(halt, False) for halt in (range(2, statements + 1) if EVERYWHERE else sorted(some))]
    pair.left_out += statements - 1 - len(halts)
    # A death is where it matters most: when all is written and nothing is committed.
    for halt, dies in [*halts, (statements, True)]:
        allowed = serial if not dies else alone if one in pair.scene.acts else serial + alone
        try:
            came = pair.at_once(one, other, halt, dies, again)
        except Exception as error:
            yield f"{one} / {other} before {halt}, dies={dies}: {error!r}"
            pair.first.go_on_freely()
        else:
            if came not in allowed:
                yield f"{one} / {other} before {halt}, dies={dies}:\n  {came}\n  {allowed}"
