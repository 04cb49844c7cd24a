"""The value of nnUNet_extTrainer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nnunet_multitask import environment
from nnunet_multitask.environment import VARIABLE, activate, discovery_folder, ext_trainer_value
from nnunet_multitask.errors import InputError

OURS = str(discovery_folder())


def test_discovery_folder_lies_in_the_package() -> None:
    folder = discovery_folder()
    assert folder.is_absolute()
    assert folder.is_dir()
    assert folder.parts[-2:] == ("nnunet_multitask", "discovery")


@pytest.mark.parametrize("existing", [None, "", os.pathsep, " "])
def test_nothing_there_gives_our_folder_alone(existing: str | None) -> None:
    assert ext_trainer_value(existing) == OURS


def test_other_folders_stay_in_front() -> None:
    existing = os.pathsep.join(["/theirs/a", "/theirs/b"])
    assert ext_trainer_value(existing) == os.pathsep.join(["/theirs/a", "/theirs/b", OURS])


def test_our_folder_is_named_once() -> None:
    once = ext_trainer_value("/theirs/a")
    assert ext_trainer_value(once) == once


def test_our_folder_keeps_its_place_under_another_spelling(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(OURS)
    existing = os.pathsep.join([str(link), OURS + "/", "/theirs/a"])
    assert ext_trainer_value(existing) == existing


def test_a_path_that_the_variable_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "discovery_folder", lambda: Path(f"/a{os.pathsep}b/discovery"))
    with pytest.raises(InputError, match=r"\[unusable-path\] /a:b/discovery: expected a path without ':'"):
        ext_trainer_value(None)


def test_activate_sets_the_variable_for_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/theirs/a")
    activate()
    activate()
    assert os.environ[VARIABLE] == os.pathsep.join(["/theirs/a", OURS])
