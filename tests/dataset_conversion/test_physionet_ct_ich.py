"""PhysioNet CT-ICH in the layout of 1.3.x: what is written, from sound files."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from physionet_source import (
    KIND_ORDER,
    LAS,
    SLICES,
    blood,
    faults,
    read_itk,
    report,
    run,
    save,
    write_checksums,
    write_source,
)

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.physionet_splits import IHSNET_TEST, IHSNET_TRAIN
from nnunet_multitask.dataset_conversion.verification import verify_dataset
from nnunet_multitask.documents import read_json
from nnunet_multitask.files import read_image
from nnunet_multitask.labels import Case, read_sidecar


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return write_source(tmp_path / "ct-ich")


def test_whole_dataset(source: Path) -> None:
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    write_checksums(source)
    folder = run(source)
    assert folder.name == "Dataset075_PhysioNetCTICH"
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [
        f"ICH_{patient:03d}_0000.nii.gz" for patient in SLICES
    ]
    dataset = read_json(folder / "dataset.json")
    assert dataset["channel_names"] == {"0": "CT"}
    assert dataset["labels"] == {"background": 0, "hemorrhage": 1}
    assert dataset["numTraining"] == 4
    assert dataset["overwrite_image_reader_writer"] == "SimpleITKIO"
    assert "Hssayeni" in dataset["description"]
    assert "data use agreement" in dataset["licence"]
    sidecar = read_sidecar(folder / "class_labels.json")
    assert {name: (target.type, target.classes) for name, target in sidecar.targets.items()} == {
        "ich": ("binary", ("no_hemorrhage", "hemorrhage")),
        "findings": ("multilabel", KIND_ORDER),
        "fracture": ("binary", ("no_fracture", "fracture")),
    }
    assert sidecar.targets["ich"].present_if_label == {"hemorrhage": (1,)}
    assert not sidecar.targets["findings"].present_if_label
    assert sidecar.cases["ICH_049"] == Case(
        {"ich": "hemorrhage", "findings": ("EDH",), "fracture": "fracture"},
        group="049",
        attributes={"age_years": 19, "sex": "female"},
        slices={
            "ich": ("no_hemorrhage", "no_hemorrhage", "hemorrhage", "hemorrhage"),
            "findings": ((), (), ("EDH",), ("EDH",)),
            "fracture": ("no_fracture", "no_fracture", "no_fracture", "fracture"),
        },
    )
    assert sidecar.cases["ICH_080"].labels["findings"] == ("IVH", "IPH", "SAH")
    assert sidecar.cases["ICH_054"].labels == {"ich": "no_hemorrhage", "findings": (), "fracture": "no_fracture"}
    assert report(folder)["warnings"] == []
    assert report(folder)["options"]["split"] == "folds"
    assert len(report(folder)["cases"]["ICH_049"]["inputs"]) == 2
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("labels", ["binary", "subtype"])
def test_verify_finds_nothing(source: Path, labels: str) -> None:
    verification = verify_dataset(run(source, labels=labels), progress=False)
    assert [str(fault) for fault in (*verification.errors, *verification.warnings)] == []


def test_slices_are_in_the_order_in_which_nnunet_reads_them(source: Path) -> None:
    folder = run(source)
    for case_id, case in read_sidecar(folder / "class_labels.json").cases.items():
        mask = read_itk(folder / "labelsTr" / f"{case_id}.nii.gz")
        assert case.slices["ich"] == tuple(
            "hemorrhage" if found else "no_hemorrhage" for found in mask.any(axis=(1, 2)).tolist()
        )
        image = read_itk(folder / "imagesTr" / f"{case_id}_0000.nii.gz")
        assert image[1, 4, 4] == int(case_id[-3:])
        assert image.dtype == np.int16


def test_masks_hold_one_where_they_held_255(source: Path) -> None:
    folder = run(source)
    image = nibabel.load(folder / "labelsTr" / "ICH_049.nii.gz")
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, blood(SLICES[49]) // 255)
    np.testing.assert_allclose(image.affine, LAS)
    assert report(folder)["cases"]["ICH_049"]["foreground_voxels"] == 8


def test_masks_that_a_slope_makes_inexact_are_repaired(source: Path) -> None:
    array = (blood(SLICES[49]) * np.float32(0.9999999)).T
    nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), LAS), source / "masks" / "049.nii")
    folder = run(source)
    np.testing.assert_array_equal(read_itk(folder / "labelsTr" / "ICH_049.nii.gz"), blood(SLICES[49]) // 255)
    assert report(folder)["counts"]["repaired"] == 1


def test_marker_stays_at_its_place_in_the_patient(source: Path) -> None:
    """Axes to left, anterior, superior, and the slightly oblique header of patient 074."""
    angle = np.deg2rad(3)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    oblique = LAS.copy()
    oblique[:3, :3] = rotation @ LAS[:3, :3]
    for path in ((source / "ct_scans" / "049.nii"), (source / "masks" / "049.nii")):
        save(path, read_itk(path), oblique)
    folder = run(source)
    for patient, affine in ((49, oblique), (50, LAS)):
        volume = read_image(folder / "imagesTr" / f"ICH_{patient:03d}_0000.nii.gz")
        z, y, x = np.argwhere(volume.array == patient)[0]
        np.testing.assert_allclose((volume.affine @ [x, y, z, 1])[:3], (affine @ [4, 4, 1, 1])[:3], atol=1e-4)


def test_subtypes_are_known_where_a_slice_has_one_kind(source: Path) -> None:
    folder = run(source, labels="subtype")
    assert list(read_json(folder / "dataset.json")["labels"].items()) == [
        ("background", 0), ("IVH", 1), ("IPH", 2), ("SAH", 3), ("EDH", 4), ("SDH", 5), ("ignore", 6),
    ]  # fmt: skip
    values = {}
    for patient in SLICES:
        mask = read_itk(folder / "labelsTr" / f"ICH_{patient:03d}.nii.gz")
        values[patient] = [sorted(set(part.ravel().tolist())) for part in mask]
    assert values == {
        49: [[0], [0], [0, 4], [0, 4]],
        50: [[0], [0, 2], [0, 6], [0]],  # the second bleeding slice has IPH and SDH: only its background is known
        54: [[0], [0], [0], [0]],
        80: [[0, 1], [0, 6], [0, 3], [0]],
    }
    targets = read_sidecar(folder / "class_labels.json").targets
    assert targets["findings"].present_if_label["SAH"] == (3,)
    assert targets["ich"].present_if_label["hemorrhage"] == (1, 2, 3, 4, 5)


def test_blood_that_no_row_explains_is_ignored_in_subtypes(source: Path) -> None:
    save(source / "masks" / "054.nii", blood([[], ["EDH"], [], []]))
    folder = run(source, labels="subtype")
    assert set(np.unique(read_itk(folder / "labelsTr" / "ICH_054.nii.gz"))) == {0, 6}


def test_without_table_of_patients(source: Path) -> None:
    (source / "Patient_demographics.csv").unlink()
    assert report(run(source))["warnings"] == ["there is no Patient_demographics.csv: age and sex are unknown"]


def test_known_oddities_are_named(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    source = write_source(tmp_path / "ct-ich", {58: SLICES[49], 70: SLICES[50], 79: SLICES[54]})
    warnings = report(run(source, exclude=[79]))["warnings"]
    assert [warning[:7] for warning in warnings] == ["ICH_058", "ICH_070"]
    assert "poor in quality (Kyung et al. 2022)" in warnings[0]
    assert "an old bleed, darker than fresh blood" in warnings[1]


def test_compressed_volumes_are_taken_as_well(source: Path) -> None:
    for name in ("ct_scans", "masks"):
        path = source / name / "049.nii"
        (source / name / "049.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    folder = run(source)
    assert report(folder)["counts"]["training"] == 4
    assert (folder / "imagesTr" / "ICH_049_0000.nii.gz").read_bytes() == (
        source / "ct_scans" / "049.nii.gz"
    ).read_bytes()
    (source / "ct_scans" / "050.nii.gz").write_bytes(gzip.compress(b"x"))
    (error,) = faults(source, dataset_id=76)
    assert error.fault == "expected patient 50 once, 050.nii is the same"


def test_excluded_patients_stand_in_the_report(source: Path) -> None:
    folder = run(source, exclude=[50])
    (excluded,) = report(folder)["excluded"]
    assert (excluded["case"], excluded["reason"]) == ("ICH_050", "left out by --exclude")
    assert "ICH_050" not in read_sidecar(folder / "class_labels.json").cases


def test_printed_split_with_its_leak(tmp_path: Path) -> None:
    """The 75 published numbers: 51 trains and tests, 90 and the healthy are left out, nothing is an error."""
    (tmp_path / "raw").mkdir()
    kinds: dict[int, list[str]] = {patient: [] for patient in (*range(49, 59), *range(66, 131))}
    for table in (IHSNET_TRAIN, IHSNET_TEST):
        for kind, patients in table.items():
            for patient in patients:
                kinds[patient].append(kind)
    kinds[90] = ["EDH"]
    source = write_source(tmp_path / "ct-ich", {patient: [found, []] for patient, found in kinds.items()})
    folder = run(source, split="ihsnet")
    assert report(folder)["counts"] == {"training": 27, "test": 9, "label_only": 0, "repaired": 0, "excluded": 40}
    sidecar = read_sidecar(folder / "class_labels.json")
    assert list(sidecar.targets) == ["findings", "fracture"]
    both = sidecar.cases["ICH_051_train"], sidecar.cases["ICH_051"]
    assert [(case.group, case.split) for case in both] == [("051", "train"), ("051", "test")]
    assert set(both[0].labels) == set(both[0].slices) == {"findings", "fracture"}
    verification = verify_dataset(folder, progress=False)
    # no fracture among these training cases: the one class is the fixture's, not the split's
    assert {error.code for error in verification.errors} == {"one-class"}
    assert {warning.code for warning in verification.warnings} == {"image-in-both-parts", "group-in-both-parts"}
    leakfree = run(source, split="ihsnet-leakfree", dataset_id=76)
    assert report(leakfree)["counts"]["training"] == 27
    assert not any(name.endswith("_train") for name in report(leakfree)["cases"])
    assert verify_dataset(leakfree, progress=False).warnings == []


def test_command(source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("nnUNet_raw", str(source.parent / "raw"))
    command = ["convert", "physionet-ct-ich", "--input", str(source), "--dataset-id", "9", "--num-workers", "1"]
    assert main([*command, "--labels", "subtype", "--exclude", "50", "--json"]) == 0
    assert '"training": 3' in capsys.readouterr().out
    assert main([*command, "--dataset-id", "10", "--split", "hoseyni-like", "--dry-run"]) == 1
    fault = "ERROR [impossible-split] --split hoseyni-like: expected two patients or more without hemorrhage, got 1"
    assert fault in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--split", "other"])
