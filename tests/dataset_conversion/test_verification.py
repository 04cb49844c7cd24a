"""Every fault of a raw dataset, found in one go."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw_datasets import AFFINE, change, lesion_mask, make_dataset, save, scan

from nnunet_multitask.dataset_conversion import verification
from nnunet_multitask.documents import check_schema, write_json

verify_dataset = partial(verification.verify_dataset, num_workers=1, progress=False)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(tmp_path)


def codes(dataset: Path, **options: Any) -> list[str]:
    return [error.code for error in verify_dataset(dataset, **options).errors]


def warning_codes(dataset: Path, **options: Any) -> list[str]:
    result = verify_dataset(dataset, **options)
    assert result.errors == []
    return [warning.code for warning in result.warnings]


def test_nothing_wrong(dataset: Path) -> None:
    document = verify_dataset(dataset).to_json()
    masks = {"foreground": 3, "empty": 0, "unknown": 0, "no mask": 0, "labels": {"blood": 3}}
    nothing = {"foreground": 0, "empty": 0, "unknown": 0, "no mask": 0, "labels": {"blood": 0}}
    assert document == {
        "version": 1,
        "dataset": "Dataset001_Tiny",
        "ok": True,
        "errors": [],
        "warnings": [],
        "counts": {
            "training": 4,
            "test": 2,
            "label_only": 0,
            "classes": {"subtype": {"IPH": 2, "IVH": 2, "unknown": 0}},
            "parts": {
                "training": {"cases": 4, "classes": {"subtype": {"IPH": 2, "IVH": 2, "unknown": 0}}},
                "test": {"cases": 2, "classes": {"subtype": {"IPH": 1, "IVH": 1, "unknown": 0}}},
            },
            "splits": {},
            "masks": {"subtype": {"IPH": masks, "IVH": masks, "unknown": nothing}},
        },
    }
    check_schema(document, "verification.json", "stdout")


def test_several_workers_find_the_same(dataset: Path) -> None:
    save(dataset / "labelsTr" / "c.nii.gz", lesion_mask(7))
    (dataset / "imagesTs" / "f_0000.nii.gz").write_bytes(b"\x1f\x8bno")
    alone, together = (verification.verify_dataset(dataset, num_workers=n, progress=False) for n in (1, 2))
    assert alone.to_json() == together.to_json()
    assert len(alone.errors) == 2


def test_test_images_need_neither_masks_nor_labels(dataset: Path) -> None:
    for case in "ef":
        (dataset / "labelsTs" / f"{case}.nii.gz").unlink()
        change(dataset / "class_labels.json", lambda d, case=case: d["cases"].pop(case))
    (dataset / "labelsTs").rmdir()
    assert warning_codes(dataset) == []


def test_faults_of_all_cases_come_at_once(dataset: Path) -> None:
    (dataset / "imagesTr" / "a_0000.nii.gz").write_bytes(b"\x1f\x8bno")
    save(dataset / "labelsTr" / "b.nii.gz", lesion_mask(7))
    save(dataset / "labelsTr" / "z.nii.gz", lesion_mask())
    save(dataset / "imagesTr" / "y_0000.nii.gz", scan(9))
    change(dataset / "class_labels.json", lambda d: d["cases"].update(q={"labels": {}}))
    result = verify_dataset(dataset)
    found = [(error.code, Path(error.where).name) for error in result.errors]
    assert found == [
        ("missing-mask", "y.nii.gz"),
        ("missing-image", "z.nii.gz"),
        ("damaged-gzip", "a_0000.nii.gz"),
        ("unknown-mask-value", "b.nii.gz"),
        ("case-count", "dataset.json"),
        ("missing-image", "q"),
        ("case-without-entry", "y"),
    ]
    assert [warning.code for warning in result.warnings] == ["unknown-labels"]
    assert result.counts["classes"] == {"subtype": {"IPH": 2, "IVH": 2, "unknown": 1}}


def test_geometry(dataset: Path) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] = 0.01
    save(dataset / "labelsTr" / "a.nii.gz", lesion_mask(), shifted)
    save(dataset / "labelsTr" / "b.nii.gz", np.zeros((4, 6, 9), np.uint8))
    assert codes(dataset) == ["geometry-differs", "shape-differs"]
    assert codes(dataset, tolerance_mm=0.1) == ["shape-differs"]


def test_channels_lie_on_the_same_voxels(dataset: Path) -> None:
    change(dataset / "dataset.json", lambda d: d["channel_names"].update({"1": "window"}))
    for seed, case in enumerate("abcdef"):
        part = "Tr" if case in "abcd" else "Ts"
        save(dataset / f"images{part}" / f"{case}_0001.nii.gz", scan(20 + seed)[:, :, : 7 if case == "c" else 8])
    assert codes(dataset) == ["shape-differs"]
    (dataset / "imagesTr" / "d_0001.nii.gz").unlink()
    assert codes(dataset) == ["missing-channel", "shape-differs"]


@pytest.mark.parametrize(
    ("edit", "code", "text"),
    [
        (
            lambda d: [d["cases"][case]["labels"].update(subtype="IPH") for case in "bd"],
            "one-class",
            "add training cases for IVH, or remove the class",
        ),
        (
            lambda d: [d["cases"][case].pop("labels") for case in "bd"],
            "one-class",
            "expected training cases of every class, got {'IPH': 2, 'IVH': 0, 'unknown': 2}",
        ),
        (lambda d: d["cases"]["b"]["labels"].update(subtype="SDH"), "unknown-class", "'IPH', 'IVH', got 'SDH'"),
        (lambda d: d["cases"]["b"]["labels"].update(s="x"), "unknown-target", "got 's'"),
    ],
)
def test_faults_of_the_sidecar(dataset: Path, edit: Callable[[Any], Any], code: str, text: str) -> None:
    change(dataset / "class_labels.json", edit)
    (error,) = verify_dataset(dataset).errors
    assert error.code == code
    assert text in str(error)


def test_a_faulty_label_hides_nothing_else(dataset: Path) -> None:
    def edit(document: Any) -> None:
        document["cases"]["a"]["labels"]["subtype"] = "SDH"
        document["cases"]["b"]["labels"]["grade"] = "high"
        document["cases"]["../c"] = document["cases"].pop("c")
        for case in "df":
            document["cases"][case]["group"] = "P"
        document["cases"]["e"]["slices"] = {"subtype": ["IPH"], "grade": ["high"]}

    change(dataset / "class_labels.json", edit)
    result = verify_dataset(dataset)
    found = [(error.code, error.where.rpartition("cases/")[2]) for error in result.errors]
    assert found == [
        ("unknown-class", "a/labels/subtype"),
        ("unknown-target", "b/labels/grade"),
        ("unknown-target", "e/slices/grade/0"),
        ("unsafe-case-id", "../c"),
        ("case-without-entry", "c"),
        ("slice-count", "e/slices/subtype"),
    ]
    assert [warning.code for warning in result.warnings] == ["group-in-both-parts"]
    assert result.counts["classes"]["subtype"] == {"IPH": 0, "IVH": 2, "unknown": 2}  # no word of one-class


def test_missing_sidecar_does_not_hide_other_faults(dataset: Path) -> None:
    (dataset / "class_labels.json").unlink()
    save(dataset / "labelsTr" / "a.nii.gz", lesion_mask(3))
    result = verify_dataset(dataset)
    assert [error.code for error in result.errors] == ["missing-sidecar", "unknown-mask-value"]
    assert result.counts["training"] == 4
    check_schema(result.to_json(), "verification.json", "stdout")


def test_faults_of_dataset_json_stop_the_rest_only_where_they_must(dataset: Path) -> None:
    change(dataset / "dataset.json", lambda d: d["labels"].update(scar=3))
    save(dataset / "labelsTr" / "a.nii.gz", lesion_mask(2))
    assert codes(dataset) == ["bad-dataset-json", "unknown-mask-value"]
    change(dataset / "dataset.json", lambda d: d.pop("labels"))
    result = verify_dataset(dataset)
    assert [error.code for error in result.errors] == ["bad-dataset-json"]
    check_schema(result.to_json(), "verification.json", "stdout")
    (dataset / "dataset.json").unlink()
    assert codes(dataset) == ["missing-file"]


def test_case_on_both_sides_and_group_on_both_sides(dataset: Path) -> None:
    save(dataset / "imagesTs" / "a_0000.nii.gz", scan(30))
    for case in "bf":
        change(dataset / "class_labels.json", lambda d, case=case: d["cases"][case].update(group="P"))
    change(dataset / "dataset.json", lambda d: d.pop("overwrite_image_reader_writer"))
    result = verify_dataset(dataset)
    assert [error.code for error in result.errors] == ["duplicate-case"]
    assert [warning.code for warning in result.warnings] == ["image-reader", "group-in-both-parts"]
    assert "expected the cases of group P on one side, b, f are training and test cases" in result.warnings[1].fault


def test_files_that_dataset_json_names(dataset: Path) -> None:
    """nnU-Net reads the training files from the key "dataset" where there is one."""
    (dataset / "imagesTr").rename(dataset / "scans")
    (dataset / "labelsTr").rename(dataset / "masks")
    named = {c: {"images": [f"scans/{c}_0000.nii.gz"], "label": f"masks/{c}.nii.gz"} for c in "abcd"}
    change(dataset / "dataset.json", lambda d: d.update(dataset=named))
    assert warning_codes(dataset) == []
    save(dataset / "masks" / "b.nii.gz", lesion_mask(7))
    assert codes(dataset) == ["unknown-mask-value"]
    change(dataset / "dataset.json", lambda d: d.update(dataset=["a", "b"]))
    assert codes(dataset)[:2] == ["bad-dataset-json", "bad-dataset-json"]


def test_files_of_another_ending(dataset: Path) -> None:
    save(dataset / "imagesTr" / "g_0000.nii", scan(9))
    (dataset / "imagesTr" / ".DS_Store").touch()
    assert warning_codes(dataset) == ["ignored-file"]


def test_masks_with_decimals_are_no_masks_to_nnunet(dataset: Path) -> None:
    save(dataset / "labelsTr" / "a.nii.gz", lesion_mask() * np.float32(0.9999))
    (error,) = verify_dataset(dataset).errors
    assert error.code == "non-integer-mask"
    assert "got 8 voxels beside one, such as 0.9999, of which nnU-Net cuts the decimals off" in error.fault


def test_an_ignore_label(dataset: Path) -> None:
    change(dataset / "dataset.json", lambda d: d["labels"].update(ignore=2))
    save(dataset / "labelsTr" / "a.nii.gz", np.full((4, 6, 8), 2, np.uint8))
    save(dataset / "labelsTr" / "b.nii.gz", np.where(lesion_mask() > 0, 2, 0).astype(np.uint8))
    result = verify_dataset(dataset)
    assert (result.errors, result.warnings) == ([], [])
    assert result.counts["label_only"] == 1
    assert result.counts["masks"]["subtype"]["IPH"] == {
        "foreground": 2, "empty": 0, "unknown": 0, "no mask": 1, "labels": {"blood": 2}
    }  # fmt: skip
    assert result.counts["masks"]["subtype"]["IVH"]["unknown"] == 1


def test_slices(dataset: Path) -> None:
    change(dataset / "class_labels.json", lambda d: d["cases"]["a"].update(slices={"subtype": [None, "IPH", "IPH"]}))
    (error,) = verify_dataset(dataset).errors
    assert error.code == "slice-count"
    assert error.where.endswith("class_labels.json: cases/a/slices/subtype")
    assert error.fault == "expected a label for each of the 4 axial slices, got 3"


@pytest.mark.parametrize(
    ("labels", "rule", "code", "text"),
    [
        ({"background": 0, "x": 1, "y": 2}, [1, 2], None, ""),
        ({"background": 0, "x": 1, "y": 2}, [3], "unknown-mask-label", "expected mask labels among [1, 2], got [3]"),
        ({"background": 0, "x": 1, "ignore": 2}, [2], "unknown-mask-label", "among [1], got [2]"),
        ({"background": 0, "whole": [1, 2], "core": 2}, [2, 1], None, ""),
        ({"background": 0, "whole": [1, 2], "core": 2}, [2], None, ""),
        (
            {"background": 0, "whole": [1, 2], "core": 2},
            [1],
            "rule-without-region",
            "expected the labels of one region, [1, 2] or [2], got [1]",
        ),
    ],
)
def test_rules_and_labels(dataset: Path, labels: dict, rule: list[int], code: str | None, text: str) -> None:
    order = {"regions_class_order": [1, 2]} if "whole" in labels else {}
    change(dataset / "dataset.json", lambda d: d.update(labels=labels, **order))

    def declare(document: Any) -> None:
        document["targets"]["ich"] = {"type": "binary", "classes": ["no", "yes"], "present_if_label": {"yes": rule}}
        for index, case in enumerate("abcdef"):
            document["cases"][case]["labels"]["ich"] = "no" if index % 2 else "yes"

    change(dataset / "class_labels.json", declare)
    errors = verify_dataset(dataset).errors
    assert [error.code for error in errors] == ([code] if code else [])
    assert text in "".join(map(str, errors))
    if code:
        assert errors[0].where.endswith("targets/ich/present_if_label/yes")


def test_official_splits_are_counted(dataset: Path) -> None:
    splits = dict(zip("abcdef", ("train", "train", "val", "val", "test", "test"), strict=True))
    change(dataset / "class_labels.json", lambda d: [d["cases"][c].update(split=s) for c, s in splits.items()])
    counted = verify_dataset(dataset).counts["splits"]
    assert counted["val"] == {"cases": 2, "classes": {"subtype": {"IPH": 1, "IVH": 1, "unknown": 0}}}
    assert set(counted) == {"train", "val", "test"}


def test_folds_that_training_will_take(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    write_json(path, [{"train": ["a", "b"], "val": ["c", "d"]}, {"train": ["c", "d"], "val": ["a", "b"]}])
    assert warning_codes(dataset, splits_file=path) == []
    write_json(path, {"train": []})
    assert codes(dataset, splits_file=path) == ["bad-splits"]


def test_faulty_labels_hide_neither_counts_nor_leaks_nor_masks(dataset: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["cases"]["a"]["labels"]["subtype"] = "huge"
        document["cases"]["../evil"] = {"labels": {}}
        document["cases"]["ghost"] = {"labels": {}}
        for case in "ac":
            document["cases"][case]["group"] = "P7"

    change(dataset / "class_labels.json", edit)
    write_json(tmp_path / "splits_final.json", [{"train": ["a", "b"], "val": ["c", "d"]}])
    result = verify_dataset(dataset, splits_file=tmp_path / "splits_final.json")
    found = {error.code for error in result.errors}
    assert {"unknown-class", "unsafe-case-id", "missing-image", "leaking-group"} <= found
    assert "class-without-training" not in found  # the unknown label may be the one that is missing
    assert sum(result.counts["classes"]["subtype"].values()) == 4
