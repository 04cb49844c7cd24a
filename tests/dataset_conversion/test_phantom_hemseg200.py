"""The synthetic cohort: layout of HemSeg-200, balance, seeds."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_multitask.dataset_conversion.phantom_hemseg200 import PHANTOM_VERSION, generate_cohort, plan_split
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import check_same_geometry, read_image, read_mask


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantom") / "cohort"
    return generate_cohort(path, num_train=5, num_val=2, num_test=2, seed=4, progress=False)


def test_layout_is_that_of_the_source(cohort: Path) -> None:
    assert sorted(path.name for path in cohort.iterdir()) == [
        "README.txt", "annotion_file_info.jsonl",
        "test", "test_set.csv", "train", "train_set.csv", "val", "val_set.csv",
    ]  # fmt: skip
    for split, count in (("train", 5), ("val", 2), ("test", 2)):
        images = sorted(path.name for path in (cohort / split / "image").iterdir())
        assert images == sorted(path.name for path in (cohort / split / "label").iterdir())
        assert len(images) == count
        assert all(re.fullmatch(r"[0-9a-f]{10}\.nii\.gz", name) for name in images)
        with (cohort / f"{split}_set.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert sorted(f"{row['filename']}.nii.gz" for row in rows) == images
        assert {row["label"] for row in rows} == {"0", "1"}


def test_patient_file_names_a_slice_for_each_slice(cohort: Path) -> None:
    entries = [json.loads(line) for line in (cohort / "annotion_file_info.jsonl").read_text().splitlines()]
    assert len(entries) == 9
    for entry in entries:
        assert re.fullmatch(r"ID_[0-9a-f]{8}", entry["patient"])
        image = next(cohort.glob(f"*/image/{entry['scan_']}.nii.gz"))
        assert len(set(entry["slice_list"])) == nibabel.load(image).shape[2]


def test_files_are_as_the_source_writes_them(cohort: Path) -> None:
    for path in cohort.glob("*/image/*.nii.gz"):
        image = read_image(path)
        mask = read_mask(path.parents[1] / "label" / path.name, allowed_labels=[0, 1])
        check_same_geometry(image, mask)
        assert image.array.dtype == mask.array.dtype == np.int16
        assert mask.array.any()
        assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")


def test_simpleitk_reads_the_same_geometry(cohort: Path) -> None:
    for path in cohort.glob("*/image/*.nii.gz"):
        volume, image = read_image(path), sitk.ReadImage(str(path))
        corner = tuple(int(size) - 1 for size in image.GetSize())
        lps = np.array(image.TransformIndexToPhysicalPoint(corner))
        np.testing.assert_allclose((volume.affine @ [*corner, 1])[:3], lps * [-1, -1, 1], atol=1e-3)


def test_some_headers_hold_a_qform_only(cohort: Path) -> None:
    codes = {
        case.scan: case.draw().parameters.qform_only for split in ("train", "val") for case in plan_split(split, 2, 4)
    }
    for scan, qform_only in codes.items():
        header = nibabel.load(next(cohort.glob(f"*/image/{scan}.nii.gz"))).header
        assert (header["sform_code"] == 0) == qform_only
        assert header["qform_code"] == 1
    assert any(case.draw().parameters.qform_only for case in plan_split("train", 12, seed=4))


def test_readme_says_what_it_is_not(cohort: Path) -> None:
    text = (cohort / "README.txt").read_text()
    assert f"phantom version {PHANTOM_VERSION}, seed 4" in text
    assert "say nothing about accuracy on patients" in text


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_case_k_does_not_depend_on_the_size(split: str) -> None:
    small, large = list(plan_split(split, 6, 1)), list(plan_split(split, 30, 1))
    for a, b in zip(small, large[:6], strict=True):
        assert (a.scan, a.patient, a.kind) == (b.scan, b.patient, b.kind)
        assert a.scan_seed.entropy == b.scan_seed.entropy
        assert a.patient_seed.entropy == b.patient_seed.entropy


def test_kinds_are_balanced_in_every_pair() -> None:
    kinds = [case.kind for case in plan_split("train", 100)]
    assert all({kinds[i], kinds[i + 1]} == {"IPH", "IVH"} for i in range(0, 100, 2))
    assert 15 < sum(kind == "IPH" for kind in kinds[::2]) < 35


def test_a_few_patients_have_two_scans_in_one_split() -> None:
    patients: dict[str, list[tuple[str, str]]] = {}
    for split in ("train", "val", "test"):
        for case in plan_split(split, 80):
            patients.setdefault(case.patient, []).append((split, case.kind))
    repeated = [scans for scans in patients.values() if len(scans) > 1]
    assert 2 <= len(repeated) <= 24
    for scans in repeated:
        assert len(scans) == 2
        assert len(set(scans)) == 1  # one split, one kind


def test_scans_have_names_of_their_own() -> None:
    names = [case.scan for split in ("train", "val", "test") for case in plan_split(split, 200)]
    assert len(set(names)) == len(names)


def test_other_seed_other_cohort() -> None:
    assert not {case.scan for case in plan_split("test", 9, 1)} & {case.scan for case in plan_split("test", 9, 2)}


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[bad-number\] .*scans and a seed from 0 on, got --train -1, --test -2 ->"):
        generate_cohort(tmp_path / "a", num_train=-1, num_val=0, num_test=-2)
    with pytest.raises(InputError, match=r"\[bad-number\] .*one scan or more, got --train 0 --val 0 --test 0 ->"):
        generate_cohort(tmp_path / "a", num_train=0, num_val=0, num_test=0)
    with pytest.raises(InputError, match=r"\[already-exists\] .*--overwrite"):
        generate_cohort(tmp_path, num_train=1, num_val=0, num_test=0)
    assert list(tmp_path.iterdir()) == []


def test_overwrite_replaces_cohorts_and_empty_folders_only(tmp_path: Path) -> None:
    def generate(name: str, seed: int = 0) -> Path:
        return generate_cohort(
            tmp_path / name, num_train=0, num_val=0, num_test=1, seed=seed, overwrite=True, progress=False
        )

    (tmp_path / "own").mkdir()
    generate("own")
    generate("own", seed=8)
    assert "seed 8" in (tmp_path / "own" / "README.txt").read_text()

    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "README.txt").write_text("My thesis, which uses the phantom version 1.")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    for name, kind in (("thesis", "a folder with other files"), ("file", "a file"), ("link", "a symbolic link")):
        with pytest.raises(InputError, match=rf"\[already-exists\] .*a phantom cohort .*got {kind} -> move it away"):
            generate(name)
    assert (tmp_path / "thesis" / "README.txt").read_text().startswith("My thesis")
    assert (tmp_path / "file").read_text() == "x"
    assert "seed 8" in (tmp_path / "link" / "README.txt").read_text()
