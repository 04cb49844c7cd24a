"""PhysioNet CT-ICH in the layout of 1.0 to 1.2: JPEG slices, whole and with each known fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from physionet_source import HEADER, OPTIONS, row
from PIL import Image

from nnunet_multitask.dataset_conversion.channels import ChannelOptions
from nnunet_multitask.dataset_conversion.physionet_ct_ich import convert
from nnunet_multitask.dataset_conversion.raw_writer import ConversionOptions
from nnunet_multitask.dataset_conversion.verification import verify_dataset
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_image, read_mask
from nnunet_multitask.labels import read_sidecar

SIZE = 40
# eleven slices, so that sorting by name would put 10 before 2
SLICES: dict[int, list[list[str]]] = {
    49: [[], [], ["EDH"], ["EDH"], *[[]] * 7],
    59: [["IVH", "IPH"], ["IVH"], ["SAH"], ["SDH"], ["IPH"], *[[]] * 6],
    84: [[]] * 11,
}


def lesion() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[5:18, 11:21] = 255  # across the blocks of JPEG
    return mask


def write_source(root: Path, slices: Mapping[int, Sequence[Sequence[str]]] = SLICES) -> Path:
    """Write brain slices of the grey level 10 N + 20, bone slices of 200 - 10 N, and masks where the table says so."""
    rows = [f"\ufeff{HEADER}"]
    for patient, kinds in slices.items():
        for window in ("brain", "bone"):
            (root / "Patients_CT" / f"{patient:03d}" / window).mkdir(parents=True)
        for number, found in enumerate(kinds, start=1):
            folder = root / "Patients_CT" / f"{patient:03d}"
            brain = np.full((SIZE, SIZE), 10 * number + 20, np.uint8)
            brain[-8:, -8:] = patient  # no two patients have the same image
            Image.fromarray(brain).save(folder / f"brain/{number}.jpg")
            Image.fromarray(np.full((SIZE, SIZE), 200 - 10 * number, np.uint8)).save(folder / f"bone/{number}.jpg")
            if found:
                Image.fromarray(lesion()).save(folder / f"brain/{number}_HGE_Seg.jpg", quality=60)
            rows.append(row(patient, number, found, fractured=patient == 49))
    (root / "hemorrhage_diagnosis.csv").write_text("\n".join([*rows, ""]))
    people = ["Patient Number,Age(years),Gender", *(f"{patient},40,Male" for patient in slices), ""]
    (root / "patient_demographics.csv").write_text("\n".join(people))
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return write_source(tmp_path / "ct-ich")


def run(source: Path, **arguments: Any) -> Path:
    arguments = {"dataset_id": 75, "options": OPTIONS, **arguments}
    return convert(source, source.parent / "raw", **arguments).folder


def warnings(folder: Path) -> list[str]:
    return list(read_json(folder / "conversion_report.json")["warnings"])


def faults(source: Path, **arguments: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputErrors) as caught:
        run(source, **arguments)
    assert list((source.parent / "raw").iterdir()) == []
    return [(error.code, Path(error.where).name) for error in caught.value.errors]


def test_slices_become_volumes(source: Path) -> None:
    folder = run(source)
    volume = read_image(folder / "imagesTr" / "ICH_049_0000.nii.gz")
    assert volume.array.shape == (11, SIZE, SIZE)
    assert volume.array.dtype == np.uint8
    np.testing.assert_allclose(volume.array[:, 0, 0], [10 * number + 20 for number in range(1, 12)], atol=1)
    assert volume.spacing_mm == (1, 1, 1)
    np.testing.assert_allclose(volume.affine, np.diag([-1, -1, 1, 1]))
    dataset = read_json(folder / "dataset.json")
    assert dataset["channel_names"] == {"0": "rgb_to_0_1"}  # no CT: the grey levels are those of a window
    assert "1.0 to 1.2" in dataset["description"]
    assert dataset["licence"] == "CC BY 4.0"
    sidecar = read_sidecar(folder / "class_labels.json")
    assert sidecar.cases["ICH_049"].labels == {"ich": "hemorrhage", "findings": ("EDH",), "fracture": "fracture"}
    assert sidecar.cases["ICH_049"].slices["findings"] == ((), (), ("EDH",), ("EDH",), *[()] * 7)
    assert sidecar.cases["ICH_059"].attributes == {"age_years": 40, "sex": "male"}
    (spacing,) = warnings(folder)
    assert "give no spacing: 1 mm is written" in spacing
    assert "no Hounsfield units" in spacing


def test_masks_are_cut_at_half_of_white(source: Path) -> None:
    published = np.asarray(Image.open(source / "Patients_CT" / "049" / "brain" / "3_HGE_Seg.jpg"))
    assert len(np.unique(published)) > 2  # what JPEG made of 0 and 255
    mask = read_mask(run(source) / "labelsTr" / "ICH_049.nii.gz", [0, 1])
    np.testing.assert_array_equal(mask.array[2], lesion() // 255)
    np.testing.assert_array_equal(mask.array.any(axis=(1, 2)), [False, False, True, True, *[False] * 7])


def test_subtypes(source: Path) -> None:
    mask = read_mask(run(source, labels="subtype") / "labelsTr" / "ICH_059.nii.gz")
    assert mask.array.max(axis=(1, 2)).tolist() == [6, 1, 3, 5, 2, *[0] * 6]


@pytest.mark.parametrize("labels", ["binary", "subtype"])
def test_verify_finds_nothing(source: Path, labels: str) -> None:
    verification = verify_dataset(run(source, labels=labels, bone_channel=True), progress=False)
    assert verification.errors == []


def test_bone_channel_without_one_slice(source: Path) -> None:
    """Slice 36 of patient 84 was published in the brain window only."""
    (source / "Patients_CT" / "084" / "bone" / "11.jpg").unlink()
    folder = run(source, bone_channel=True)
    assert read_json(folder / "dataset.json")["channel_names"] == {"0": "rgb_to_0_1", "1": "rgb_to_0_1"}
    bone = read_image(folder / "imagesTr" / "ICH_084_0001.nii.gz")
    assert bone.array[:, 0, 0].tolist() == pytest.approx([200 - 10 * number for number in range(1, 11)], abs=1)
    assert len(read_image(folder / "imagesTr" / "ICH_084_0000.nii.gz").array) == 10
    assert len(read_sidecar(folder / "class_labels.json").cases["ICH_084"].slices["ich"]) == 10
    found = [warning.split(" -> ")[0] for warning in warnings(folder)[1:]]
    assert found == [
        "[slice-count] ICH_084: expected a row of the table for each of the 10 slices, got 11 rows; "
        "rows without slice: 11",
        "[missing-slice] ICH_084: expected bone/N.jpg for every slice, found none for 11",
    ]
    assert len(read_image(run(source, dataset_id=76) / "imagesTr" / "ICH_084_0000.nii.gz").array) == 11


def test_labels_follow_their_slices_past_a_gap(source: Path) -> None:
    (source / "Patients_CT" / "049" / "brain" / "2.jpg").unlink()
    folder = run(source)
    assert read_sidecar(folder / "class_labels.json").cases["ICH_049"].slices["findings"][:3] == (
        (),
        ("EDH",),
        ("EDH",),
    )
    assert read_mask(folder / "labelsTr" / "ICH_049.nii.gz").array.any(axis=(1, 2)).tolist()[:3] == [False, True, True]
    assert any(
        "[missing-slice] ICH_049: expected brain/N.jpg for every slice, found none for 2" in w for w in warnings(folder)
    )


def test_mask_that_the_table_contradicts(source: Path) -> None:
    folder = source / "Patients_CT" / "049" / "brain"
    (folder / "3_HGE_Seg.jpg").rename(folder / "8_HGE_Seg.jpg")
    found = [warning.split(" -> ")[0] for warning in warnings(run(source))[1:]]
    assert [warning.rpartition("got ")[2] for warning in found] == ["none in 3", "blood in 8"]


def test_every_damaged_slice_is_named(source: Path) -> None:
    brain = source / "Patients_CT" / "049" / "brain"
    truncated = brain / "4.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-40])
    Image.fromarray(np.zeros((SIZE, SIZE + 1), np.uint8)).save(brain / "6.jpg")
    (brain / "5.jpg").write_bytes(b"")
    (source / "Patients_CT" / "059" / "brain" / "3_HGE_Seg.jpg").write_text("no picture")
    Image.fromarray(lesion()).save(source / "Patients_CT" / "084" / "brain" / "12_HGE_Seg.jpg")
    assert faults(source) == [
        ("unreadable-image", "4.jpg"),
        ("empty-file", "5.jpg"),
        ("shape-differs", "6.jpg"),
        ("unreadable-image", "3_HGE_Seg.jpg"),
        ("missing-image", "12_HGE_Seg.jpg"),
    ]


def test_patient_without_slices(source: Path) -> None:
    for path in (source / "Patients_CT" / "084" / "brain").iterdir():
        path.unlink()
    assert faults(source) == [("missing-image", "brain")]
    (source / "Patients_CT" / "084" / "brain").rmdir()
    assert faults(source) == [("unreadable-file", "brain")]


def test_checksums_of_slices(source: Path) -> None:
    (source / "SHA256SUMS.txt").write_text(f"{'0' * 64} Patients_CT/049/brain/7.jpg\n")
    assert faults(source) == [("checksum-differs", "7.jpg")]


def test_what_jpeg_slices_cannot_give(source: Path) -> None:
    with pytest.raises(
        InputError, match=r"\[contradicting-options\] --split hoseyni-like: expected the 75 scans of 1.3.x"
    ):
        run(source, split="hoseyni-like")
    windows = ConversionOptions(progress=False, num_workers=1, channels=ChannelOptions(windows=("brain",)))
    with pytest.raises(InputError, match=r"\[no-hounsfield\] --windows: expected a CT in Hounsfield units"):
        run(source, options=windows)


def test_the_table_of_patients_is_called_as_this_release_does(source: Path) -> None:
    for path in source.glob("*atient_demographics.csv"):
        path.unlink()
    assert "there is no patient_demographics.csv: age and sex are unknown" in warnings(run(source))
