"""The nemesis: what finds nobody comes back, and how much was done is never a matter of luck."""

import json
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from taskplatform.verify.faults import nemesis as module
from taskplatform.verify.faults.fault import NoTarget, Sudden
from taskplatform.verify.faults.nemesis import Nemesis
from taskplatform.verify.rig.bench import Bench


class Rolls(Sudden):
    """Says what it rolled."""

    kind = "rolls"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Roll."""
        return [dice.randrange(10**6)]


class FindsNobody(Rolls):
    """Finds nobody the first two times."""

    kind = "finds-nobody"
    left = 2

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Look for somebody."""
        if FindsNobody.left:
            FindsNobody.left -= 1
            raise NoTarget
        return super().begin(bench, dice)


class EndsLate(Rolls):
    """Cannot be ended until another has ended."""

    kind = "ends-late"
    ended: ClassVar[list[str]] = []

    def seconds(self, dice: Random) -> float:
        """A moment."""
        return 0.01

    def end(self, bench: Bench) -> list[int]:
        """End it, if that can be done."""
        if "in-its-way" not in self.ended:
            raise OSError("the disk is full")
        self.ended.append(self.kind)
        return []


class InItsWay(Rolls):
    """Lasts a little longer."""

    kind = "in-its-way"

    def seconds(self, dice: Random) -> float:
        """Longer."""
        return 0.3

    def end(self, bench: Bench) -> list[int]:
        """End it."""
        EndsLate.ended.append(self.kind)
        return []


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KINDS", {"rolls": Rolls, "finds-nobody": FindsNobody})


def rage(folder: Path, misses: int, most: float = 60) -> tuple[Nemesis, list[dict[str, Any]]]:
    FindsNobody.left = misses
    folder.mkdir()
    made = Nemesis(
        cast(Bench, SimpleNamespace(folder=folder, concurrency=1)),
        3,
        {"rolls": 4, "finds-nobody": 1},
    )
    made.rage(0.0, most)
    lines = (folder / "nemesis.jsonl").read_text().splitlines()
    return made, [json.loads(line) for line in lines[1:]]


def test_what_finds_nobody_is_tried_again(tmp_path: Path) -> None:
    made, lines = rage(tmp_path / "one", 2)
    assert made.done == {"rolls": 4, "finds-nobody": 1}
    assert [one["fault"] for one in lines if one["phase"] == "missed"] == ["finds-nobody"] * 2


def test_what_never_finds_anybody_is_given_up(tmp_path: Path) -> None:
    made, _ = rage(tmp_path / "one", 10**6)
    assert made.done == {"rolls": 4}


def test_what_one_fault_finds_changes_nothing_of_the_others(tmp_path: Path) -> None:
    pids = [
        [one["pids"] for one in rage(tmp_path / str(misses), misses)[1] if one["fault"] == "rolls"]
        for misses in (0, 2)
    ]
    assert pids[0][::2] == pids[1][::2]


def test_what_cannot_be_ended_yet_is_ended_after_what_is_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KINDS", {one.kind: one for one in (EndsLate, InItsWay)})
    bench = cast(Bench, SimpleNamespace(folder=tmp_path, concurrency=1))
    Nemesis(bench, 3, {"ends-late": 1, "in-its-way": 1}).rage(0.0, 60)
    assert EndsLate.ended == ["in-its-way", "ends-late"]
