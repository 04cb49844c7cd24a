"""The synthetic cohort in the layout of PhysioNet CT-ICH: who has what, the files, and how the converter takes it."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.phantom_physionet import (
    PHANTOM_VERSION,
    PUBLISHED_PATIENTS,
    generate_physionet_cohort,
    plan_cohort,
)
from nnunet_multitask.dataset_conversion.physionet_ct_ich import convert
from nnunet_multitask.dataset_conversion.physionet_labels import kinds_of
from nnunet_multitask.dataset_conversion.physionet_splits import split_patients
from nnunet_multitask.dataset_conversion.physionet_tables import read_slice_table
from nnunet_multitask.dataset_conversion.raw_writer import ConversionOptions
from nnunet_multitask.dataset_conversion.verification import verify_dataset
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import check_same_geometry, read_image, read_mask

NUM_SCANS = 10


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantom") / "cohort"
    return generate_physionet_cohort(path, num_scans=NUM_SCANS, seed=2, num_workers=1, progress=False)


def test_75_scans_are_the_published_patients() -> None:
    cases = list(plan_cohort(75))
    assert sorted(case.patient for case in cases) == list(PUBLISHED_PATIENTS)
    assert sum(bool(case.kinds) for case in cases) == 36
    counts = Counter(kind for case in cases for kind in case.kinds)
    assert min(counts.values()) >= 4
    assert counts["EDH"] >= 18
    assert 3 <= sum(len(case.kinds) > 1 for case in cases) <= 24
    kinds = {case.patient: frozenset(case.kinds) for case in cases}
    assert [warning for warning in split_patients("ihsnet", kinds).warnings if "70 (SAH; has EDH)" in warning]
    assert split_patients("ihsnet-leakfree", kinds).warnings == ()


def test_the_first_ten_have_every_kind() -> None:
    for seed in range(5):
        kinds = [case.kinds for case in plan_cohort(10, seed)]
        assert {kind for found in kinds for kind in found} == {"IVH", "IPH", "SAH", "EDH", "SDH"}
        assert sum(bool(found) for found in kinds) == 5


def test_case_k_does_not_depend_on_the_size() -> None:
    small, large = list(plan_cohort(20, 3)), list(plan_cohort(120, 3))
    for a, b in zip(small, large[:20], strict=True):
        assert (a.patient, a.kinds, a.fractured, a.age_years, a.sex) == (
            b.patient, b.kinds, b.fractured, b.age_years, b.sex,
        )  # fmt: skip
        assert a.scan_seed.entropy == b.scan_seed.entropy
    assert [case.patient for case in large[75:78]] == [131, 132, 133]
    assert 10 < sum(bool(case.kinds) for case in large[75:]) < 35


def test_files_are_as_published(cohort: Path) -> None:
    assert sorted(path.name for path in cohort.iterdir()) == [
        "Patient_demographics.csv",
        "README.txt",
        "SHA256SUMS.txt",
        "ct_scans",
        "hemorrhage_diagnosis_raw_ct.csv",
        "masks",
    ]
    cases = {case.patient: case for case in plan_cohort(NUM_SCANS, 2)}
    assert sorted(path.name for path in (cohort / "ct_scans").iterdir()) == sorted(f"{p:03d}.nii" for p in cases)
    for path in (cohort / "ct_scans").iterdir():
        image, mask = read_image(path), read_mask(cohort / "masks" / path.name, [0, 255])
        check_same_geometry(image, mask)
        assert image.array.dtype == mask.array.dtype == np.int16
        assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
        assert np.linalg.det(image.affine) < 0
        assert mask.array.any() == bool(cases[int(path.stem)].kinds)
    text = (cohort / "README.txt").read_text()
    assert f"phantom version {PHANTOM_VERSION}, seed 2" in text
    assert "10 scans, 5 with hemorrhage" in text
    for line in (cohort / "SHA256SUMS.txt").read_text().splitlines():
        digest, name = line.split(" ")
        assert hashlib.sha256((cohort / name).read_bytes()).hexdigest() == digest


def test_tables_are_as_published(cohort: Path) -> None:
    raw = (cohort / "hemorrhage_diagnosis_raw_ct.csv").read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n")
    header = (cohort / "Patient_demographics.csv").read_bytes()
    assert header.startswith(
        b'Patient Number,"Age\n(years)",Gender,Hemorrhage type based on the radiologists diagnosis ,'
    )
    with (cohort / "Patient_demographics.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1][3:8] == ["Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural"]
    assert {row[0] for row in rows[2:]} >= {"59", "65"}  # patients without a scan
    table = read_slice_table(cohort / "hemorrhage_diagnosis_raw_ct.csv")
    for case in plan_cohort(NUM_SCANS, 2):
        slices = table.patients[case.patient]
        assert kinds_of(slices.values()) == set(case.kinds)
        assert any(labels.fracture for labels in slices.values()) == case.fractured
        mask = read_mask(cohort / "masks" / f"{case.patient:03d}.nii")
        assert [bool(slices[index + 1].kinds) for index in range(len(mask.array))] == mask.array.any(
            axis=(1, 2)
        ).tolist()


def test_slices_with_two_kinds_occur() -> None:
    case = next(case for case in plan_cohort(75) if case.patient == 80)
    kinds = case.draw().kinds
    assert any(len(set(np.unique(part)) - {0}) > 1 for part in kinds)


@pytest.mark.parametrize("labels", ["binary", "subtype"])
def test_the_converter_takes_it_and_verify_finds_nothing(cohort: Path, tmp_path: Path, labels: str) -> None:
    options = ConversionOptions(progress=False, num_workers=1)
    conversion = convert(cohort, tmp_path, dataset_id=1, labels=labels, options=options)
    warnings = conversion.report["warnings"]
    assert warnings[0] == "Patient_demographics.csv names patients without a scan: 59, 60, 61, 62, 63, 64, 65"
    assert warnings[1] == "the scans are a phantom: results on them say nothing about patients"
    assert not any("ICH_" in warning and "mirrored" not in warning for warning in warnings)
    verification = verify_dataset(conversion.folder, progress=False)
    assert [str(fault) for fault in verification.errors] == []


def test_equal_seeds_give_equal_files_with_any_number_of_workers(cohort: Path, tmp_path: Path) -> None:
    again = generate_physionet_cohort(tmp_path / "again", num_scans=2, seed=2, num_workers=2, progress=False)
    for path in (*again.glob("*/*.nii"),):
        assert path.read_bytes() == (cohort / path.relative_to(again)).read_bytes()
    with pytest.raises(InputError, match=r"\[already-exists\] .*--overwrite"):
        generate_physionet_cohort(again, num_scans=1)
    generate_physionet_cohort(again, num_scans=1, seed=3, overwrite=True, num_workers=1, progress=False)
    assert len(list(again.glob("ct_scans/*"))) == 1
