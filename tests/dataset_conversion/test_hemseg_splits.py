"""HemSeg-200: patients, the official split and another one by class and patient."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hemseg_source import CLASSES, report, run, save, write_patients, write_source

from nnunet_multitask.dataset_conversion.hemseg200 import HemSegOptions
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import read_sidecar


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


def test_patient_in_two_splits_is_named(source: Path) -> None:
    write_patients(source, {"00000000a1": "ID_1", "00000000a2": "ID_1", "00000000b1": "ID_3", "00000000c1": "ID_1"})
    assert report(run(source))["warnings"] == [
        "patient ID_1 has scans in several splits:"
        " HEM_00000000a1 (train), HEM_00000000a2 (train), HEM_00000000c1 (test)"
    ]


def test_keys_of_the_larger_release(source: Path) -> None:
    write_patients(source, dict.fromkeys(CLASSES, "ID_9"), keys=("patient_name", "scan_name"))
    assert {case.group for case in read_sidecar(run(source) / "class_labels.json").cases.values()} == {"ID_9"}


def test_without_patient_file_each_scan_is_its_own_group(source: Path) -> None:
    (source / "annotion_file_info.jsonl").unlink()
    folder = run(source)
    assert {case.group for case in read_sidecar(folder / "class_labels.json").cases.values()} == {None}
    assert report(folder)["warnings"] == ["there is no annotion_file_info.jsonl: every scan is its own group"]


def test_same_scan_in_two_splits(source: Path) -> None:
    for kind in ("image", "label"):
        save(source / "test" / kind / "00000000a1.nii.gz", mask=kind == "label")
    with pytest.raises(InputErrors, match=r"\[duplicate-case\] .*test/label/00000000a1.*train/label/00000000a1"):
        run(source)


def test_resplit_by_class_and_patient(tmp_path: Path) -> None:
    root = tmp_path / "source"
    scans = [f"{index:010x}" for index in range(24)]
    for index, scan in enumerate(scans):
        save(root / ("train", "val", "test")[index % 3] / "image" / f"{scan}.nii.gz")
        save(root / ("train", "val", "test")[index % 3] / "label" / f"{scan}.nii.gz", mask=True)
    rows = "".join(f"{scan},{index % 2}\n" for index, scan in enumerate(scans))
    (root / "train_set.csv").write_text(f"filename,label\n{rows}")
    # the first six scans are of two patients, across the official splits
    write_patients(root, {scan: f"ID_{index // 3 if index < 6 else index}" for index, scan in enumerate(scans)})
    (tmp_path / "raw").mkdir()
    assert len(report(run(root))["warnings"]) == 2  # the two patients
    folder = run(root, overwrite=True, hemseg=HemSegOptions(resplit=True, seed=3))
    cases = read_sidecar(folder / "class_labels.json").cases
    assert Counter(case.split for case in cases.values()) == {"train": 18, "val": 4, "test": 2}
    assert Counter(case.labels["subtype"] for case in cases.values() if case.split == "test") == {"IPH": 1, "IVH": 1}
    for patient in ("ID_0", "ID_1"):
        assert len({case.split for case in cases.values() if case.group == patient}) == 1
    assert {path.name[:14] for path in (folder / "imagesTs").iterdir()} == {
        case_id for case_id, case in cases.items() if case.split == "test"
    }
    assert report(folder)["warnings"] == []
    assert report(folder)["options"]["resplit"] is True
    again = run(root, overwrite=True, hemseg=HemSegOptions(resplit=True, seed=3))
    assert read_sidecar(again / "class_labels.json").cases == cases
    other = run(root, overwrite=True, hemseg=HemSegOptions(resplit=True, seed=4))
    assert read_sidecar(other / "class_labels.json").cases != cases


def test_official_split_serves_the_command_split(source: Path) -> None:
    from nnunet_multitask.splits import official_fold

    folder = run(source)
    sidecar = read_sidecar(folder / "class_labels.json")
    training = [path.name[:-12] for path in (folder / "imagesTr").iterdir()]
    assert official_fold(sidecar, training, folder) == {
        "train": ["HEM_00000000a1", "HEM_00000000a2"],
        "val": ["HEM_00000000b1"],
    }


def test_seed_without_resplit_is_refused(source: Path) -> None:
    with pytest.raises(
        InputError, match=r"\[contradicting-options\] --seed: expected --seed with --resplit only, got it without"
    ):
        run(source, hemseg=HemSegOptions(seed=3))
