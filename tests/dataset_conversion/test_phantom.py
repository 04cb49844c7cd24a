"""The command that makes cohorts: which options belong to which layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.phantom_readme import is_cohort


@pytest.mark.parametrize(
    ("options", "files", "text"),
    [
        ("--train 1 --val 0 --test 0", ["train_set.csv"], "layout: hemseg200\nscans: 1 train, 0 val, 0 test"),
        ("--layout physionet-ct-ich --scans 1", ["ct_scans/085.nii", "masks/085.nii"], "physionet-ct-ich\nscans: 1"),
    ],
)
def test_layouts(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, files: list[str], text: str) -> None:
    assert main(["convert", "phantom", "--output", str(tmp_path / "cohort"), *options.split()]) == 0
    assert all((tmp_path / "cohort" / name).is_file() for name in files)
    assert text in capsys.readouterr().out
    assert is_cohort(tmp_path / "cohort")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ("--scans 3", "expected the options of --layout hemseg200, got --scans"),
        ("--layout physionet-ct-ich --train 3 --test 0", "of --layout physionet-ct-ich, got --train, --test"),
        ("--layout physionet-ct-ich --scans 0", "expected 1 to 944 scans and a seed from 0 on, got --scans 0 --seed 0"),
        ("--layout physionet-ct-ich --scans 2 --seed -1", "got --scans 2 --seed -1"),
    ],
)
def test_options_of_the_other_layout_and_impossible_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, fault: str
) -> None:
    assert main(["convert", "phantom", "--output", str(tmp_path / "cohort"), *options.split()]) == 1
    assert fault in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_cohort_by_its_readme_alone(tmp_path: Path) -> None:
    assert not is_cohort(tmp_path)
    (tmp_path / "README.txt").write_text("About the Synthetic head-CT cohort, phantom version 1, seed 0.")
    assert not is_cohort(tmp_path)
