"""What TASKPLATFORM_FAILPOINT may say; what failpoints do is seen in the chaos ring."""

import os
from pathlib import Path

import pytest

from taskplatform.errors import SettingsError
from taskplatform.executor.failpoints import Failpoint, Reached, parse


def test_several_points_are_read(tmp_path: Path) -> None:
    found = parse(f"b1:kill, b4:stop@{tmp_path}")
    assert found == {
        "b1": Failpoint("b1", "kill", None),
        "b4": Failpoint("b4", "stop", tmp_path),
    }


@pytest.mark.parametrize("text", ["", "b8:kill", "b1", "b1:explode", "b1:kill,", "kill"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no failpoint: give POINT:ACTION"):
        parse(text)


def test_without_a_folder_it_acts_each_time() -> None:
    point = Failpoint("b4", "raise", None)
    for _ in range(2):
        with pytest.raises(Reached, match="b4"):
            point.reach()


def test_with_a_folder_it_acts_once_for_each_file(tmp_path: Path) -> None:
    point = Failpoint("b4", "raise", tmp_path)
    point.reach()
    for _ in range(2):
        (tmp_path / "b4").touch()
        with pytest.raises(Reached):
            point.reach()
        point.reach()
    taken = sorted(one.name.split(".")[:2] for one in tmp_path.iterdir())
    assert taken == [["b4", str(os.getpid())]] * 2
