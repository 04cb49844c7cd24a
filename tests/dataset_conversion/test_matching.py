"""Rows, images and masks that belong together, and those that are left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion.layouts import FoundCase, Layout
from nnunet_multitask.dataset_conversion.matching import TableEntry, check_masks, match_cases

TABLE = Path("t.csv")


def layout(*names: str, orphans: tuple[str, ...] = (), test: str = "") -> Layout:
    cases = {}
    for name in names:
        case_id, masked = name.rstrip("-"), not name.endswith("-")
        mask = Path("labels") / f"{case_id}.nii"
        image = Path("images") / f"{case_id}.nii"
        cases[case_id] = FoundCase((image,), mask if masked else None, mask, case_id == test)
    return Layout(cases, ("CT",), [Path("labels") / f"{name}.nii" for name in orphans])


def entries(*names: str) -> list[TableEntry]:
    return [TableEntry(name, f"line {number}") for number, name in enumerate(names, 2)]


def test_entries_find_their_images_with_and_without_ending() -> None:
    found, warnings, errors = match_cases(TABLE, entries("b.nii.gz", "a"), layout("a", "b"), allow_missing=False)
    assert (found, warnings, errors) == ({"b": 0, "a": 1}, [], [])


def test_everything_left_over_is_named() -> None:
    found, _, errors = match_cases(TABLE, entries("a", "a", "7", "x"), layout("a", "007", "b"), allow_missing=False)
    assert found == {"a": 0}
    assert [str(error).split(" -> ") for error in errors] == [
        ["[duplicate-case] t.csv: line 3: expected each case once, a is also in line 2", "remove one of the rows"],
        [
            "[missing-image] t.csv: line 4: expected an image of '7', found none",
            "correct the table or the files, or use --allow-missing; did you mean '007'?",
        ],
        [
            "[missing-image] t.csv: line 5: expected an image of 'x', found none",
            "correct the table or the files, or use --allow-missing",
        ],
        [
            "[missing-row] images/007.nii: expected a row of t.csv for the case 007, found none",
            "correct the table or the files, or use --allow-missing",
        ],
        [
            "[missing-row] images/b.nii: expected a row of t.csv for the case b, found none",
            "correct the table or the files, or use --allow-missing",
        ],
    ]


def test_what_is_left_over_may_be_allowed() -> None:
    found, warnings, _ = match_cases(TABLE, entries("a", "7"), layout("a", "007"), allow_missing=True)
    assert found == {"a": 0}
    assert warnings == [
        "line 3 of the table: there is no image of '7'; it is passed over; the image '007' is similar",
        "007: the table does not name it; its class is unknown",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../x", "'../x'"),
        ("a\0b", r"'a\x00b'"),
        ('=cmd("x")', "'=cmd(\"x\")'"),
        ("<script>", "'<script>'"),
        ("x" * 255, f"'{'x' * 80}'"),
        ("", "''"),
        ("\x1b[31m", r"'\x1b[31m'"),
    ],
)
def test_strange_names_are_shown_as_text(name: str, shown: str) -> None:
    _, _, errors = match_cases(TABLE, entries("a", name), layout("a"), allow_missing=False)
    assert errors[0].fault == f"expected an image of {shown}, found none"
    _, (warning,), _ = match_cases(TABLE, entries("a", name), layout("a"), allow_missing=True)
    assert warning == f"line 3 of the table: there is no image of {shown}; it is passed over"


@pytest.mark.parametrize("allow_missing", [False, True])
def test_test_images_need_no_row(allow_missing: bool) -> None:
    found, warnings, errors = match_cases(TABLE, entries("a"), layout("a", "b", test="b"), allow_missing=allow_missing)
    assert (found, errors) == ({"a": 0}, [])
    assert warnings == ["1 test image without row in t.csv, of unknown class: b"]


def test_missing_masks() -> None:
    errors, warnings = check_masks(
        layout("a", "b-", "c-", test="c", orphans=("d",)), allow_missing=False, allow_label_only=False
    )
    assert [(error.code, error.where, error.remedy.split(":")[0]) for error in errors] == [
        ("missing-mask", "labels/b.nii", "add it, or use --allow-label-only"),
        ("missing-image", "labels/d.nii", "add the image, or use --allow-missing"),
    ]
    assert warnings == []


def test_missing_masks_may_be_allowed() -> None:
    errors, warnings = check_masks(layout("a-", orphans=("d",)), allow_missing=True, allow_label_only=True)
    assert errors == []
    assert warnings == ["d.nii: a mask without image; it is passed over"]


def test_mask_with_the_number_of_a_channel() -> None:
    (error,), _ = check_masks(layout("a-", orphans=("a_0000",)), allow_missing=False, allow_label_only=False)
    assert (error.code, error.remedy) == ("missing-mask", "rename a_0000.nii to a.nii: a mask has no channels")
