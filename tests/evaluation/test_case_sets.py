"""Which cases models are compared over."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.case_sets import choose_cases


def folders(tmp_path: Path, **cases: str) -> dict[str, Path]:
    for name, letters in cases.items():
        (tmp_path / name).mkdir()
        for letter in letters:
            (tmp_path / name / f"{letter}.nii.gz").touch()
    return {name: tmp_path / name for name in cases if name != "reference"}


def test_the_same_cases_and_one_that_all_missed(tmp_path: Path) -> None:
    models = folders(tmp_path, reference="abc", base="abx", multi="ab")
    cases, document = choose_cases(tmp_path / "reference", models, ".nii.gz")
    assert cases == ["a", "b", "c"]
    assert document == {"rule": "same", "scored": 3, "left_out": {}}


def test_other_cases_are_refused_unless_the_intersection_is_asked_for(tmp_path: Path) -> None:
    models = folders(tmp_path, reference="abcde", base="abc", multi="bcd")
    with pytest.raises(InputErrors, match="of the 4 cases that another model predicted, 1 are absent: d") as caught:
        choose_cases(tmp_path / "reference", models, ".nii.gz")
    assert [error.code for error in caught.value.errors] == ["different-case-sets"] * 2
    cases, document = choose_cases(tmp_path / "reference", models, ".nii.gz", intersection=True)
    assert cases == ["b", "c", "e"]  # e was missed by both
    assert document == {"rule": "intersection", "scored": 3, "left_out": {"base": ["d"], "multi": ["a"]}}


def test_named_cases_only(tmp_path: Path) -> None:
    models = folders(tmp_path, reference="abcd", base="abc", multi="bcd")
    cases, document = choose_cases(tmp_path / "reference", models, ".nii.gz", case_ids={"b", "c"})
    assert (cases, document["rule"]) == (["b", "c"], "same")


def test_no_case_in_common_is_refused(tmp_path: Path) -> None:
    models = folders(tmp_path, reference="ab", base="a", multi="b")
    with pytest.raises(InputError, match=r"\[empty-intersection\]"):
        choose_cases(tmp_path / "reference", models, ".nii.gz", intersection=True)
