"""Scoring the references themselves is warned of, whatever the name of their folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nnunet_multitask.evaluation.folders import evaluate_folders


def warnings(cohort: Path, folder: str) -> list[str]:
    labels = {"background": 0, "IPH": 1, "IVH": 2}
    return list(evaluate_folders(cohort / "labels", cohort / folder, labels=labels)["warnings"])


def test_the_folder_of_references_is_no_prediction(cohort: Path, caplog: pytest.LogCaptureFixture) -> None:
    (warning,) = warnings(cohort, "model/../labels")
    assert "[same-folder]" in warning
    assert "got the folder of references" in warning
    assert caplog.text.count("WARN [same-folder]") == 1


def test_copies_of_the_references_are_no_prediction(cohort: Path) -> None:
    shutil.copytree(cohort / "labels", cohort / "copy")
    (warning,) = warnings(cohort, "copy")
    assert "[same-files]" in warning
    assert "got 3 files that all equal their reference byte by byte" in warning
    shutil.copy(cohort / "baseline" / "c2.nii.gz", cohort / "copy")
    assert warnings(cohort, "copy") == []
    (cohort / "copy" / "c2.nii.gz").unlink()  # the rest are copies still
    assert len(warnings(cohort, "copy")) == 1


def test_another_folder_has_no_warning(cohort: Path) -> None:
    assert warnings(cohort, "baseline") == []
