"""PhysioNet CT-ICH in the layout of 1.3.x, whole and with each known fault."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.physionet_ct_ich import convert
from nnunet_multitask.dataset_conversion.physionet_splits import IHSNET_TEST, IHSNET_TRAIN
from nnunet_multitask.dataset_conversion.raw_writer import ConversionOptions
from nnunet_multitask.dataset_conversion.verification import verify_dataset
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_image
from nnunet_multitask.labels import Case, read_sidecar

# patient -> kinds of each slice, from the lowest up; each kind occurs and fails to occur
SLICES: dict[int, list[list[str]]] = {
    49: [[], [], ["EDH"], ["EDH"]],
    50: [[], ["IPH"], ["IPH", "SDH"], []],
    54: [[], [], [], []],
    80: [["IVH"], ["IVH", "IPH"], ["SAH"], []],
}
FRACTURED = {49: [3]}
KIND_ORDER = ("IVH", "IPH", "SAH", "EDH", "SDH")
LAS = np.array([[-0.5, 0, 0, 40], [0, 0.5, 0, -30], [0, 0, 5, -10], [0, 0, 0, 1.0]])
HEADER = (
    "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
    "No_Hemorrhage,Fracture_Yes_No"
)
OPTIONS = ConversionOptions(progress=False, num_workers=1)


def save(path: Path, array_zyx: np.ndarray, affine: np.ndarray = LAS) -> None:
    nibabel.save(nibabel.Nifti1Image(np.asarray(array_zyx, np.int16).T, affine), path)


def blood(kinds: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the published mask: 255 at one place of every slice that shows a kind."""
    mask = np.zeros((len(kinds), 7, 6), np.int16)
    mask[[bool(found) for found in kinds], 2:4, 1:3] = 255
    return mask


def row(patient: int, number: int, kinds: Sequence[str], fractured: bool = False) -> str:
    flags = [int(kind in kinds) for kind in KIND_ORDER]
    return ",".join(map(str, [patient, number, *flags, int(not kinds), int(fractured)]))


def write_tables(root: Path, slices: Mapping[int, Sequence[Sequence[str]]]) -> None:
    rows = [
        row(patient, index + 1, found, index in FRACTURED.get(patient, []))
        for patient, kinds in slices.items()
        for index, found in enumerate(kinds)
    ]
    (root / "hemorrhage_diagnosis_raw_ct.csv").write_bytes("\r\n".join([HEADER, *rows, ""]).encode())
    people = [
        'Patient Number,"Age\n(years)",Gender,Hemorrhage type based on the radiologists diagnosis ,,,,,'
        "Fracture (yes 1/no 0),Note1",
        ",,,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,,",
    ]
    for patient, kinds in slices.items():
        flags = ["1" if any(kind in found for found in kinds) else "" for kind in KIND_ORDER]
        people.append(f"{patient},{patient - 30},Female,{','.join(flags)},{1 if patient in FRACTURED else ''},")
    (root / "Patient_demographics.csv").write_bytes("\r\n".join([*people, ""]).encode())


def write_source(root: Path, slices: Mapping[int, Sequence[Sequence[str]]] = SLICES) -> Path:
    """Write the layout of 1.3.x; the image of a patient holds the patient's number at one voxel."""
    for name in ("ct_scans", "masks"):
        (root / name).mkdir(parents=True)
    for patient, kinds in slices.items():
        image = np.full((len(kinds), 7, 6), -1000)
        image[:, 1:6, 1:5] = 35
        image[blood(kinds) > 0] = 65
        image[1, 4, 4] = patient
        save(root / "ct_scans" / f"{patient:03d}.nii", image)
        save(root / "masks" / f"{patient:03d}.nii", blood(kinds))
    write_tables(root, slices)
    return root


def write_checksums(root: Path) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root).as_posix()}" for path in files]
    (root / "SHA256SUMS.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return write_source(tmp_path / "ct-ich")


def run(source: Path, **arguments: Any) -> Path:
    arguments = {"dataset_id": 75, "options": OPTIONS, **arguments}
    return convert(source, source.parent / "raw", **arguments).folder


def report(folder: Path) -> dict[str, Any]:
    return dict(read_json(folder / "conversion_report.json"))


def faults(source: Path, **arguments: Any) -> list[InputError]:
    with pytest.raises(InputErrors) as caught:
        run(source, **arguments)
    raw = list((source.parent / "raw").iterdir())
    assert not any(path.name.startswith((".tmp", f"Dataset{arguments.get('dataset_id', 75):03d}")) for path in raw)
    return list(caught.value.errors)


def read_itk(path: Path) -> np.ndarray:
    """Return (Z, Y, X) as nnU-Net's SimpleITKIO does."""
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


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


@pytest.mark.parametrize(
    ("slices", "text"),
    [
        ([[], [], ["EDH"], []], "every slice that the table calls hemorrhage, got none in 4 ->"),
        ([["EDH"], [], ["EDH"], ["EDH"]], "every slice that the table calls free of hemorrhage, got blood in 1 ->"),
    ],
)
def test_mask_that_contradicts_the_table(source: Path, slices: list[list[str]], text: str) -> None:
    save(source / "masks" / "049.nii", blood(slices))
    (warning,) = report(run(source))["warnings"]
    assert warning.startswith("[mask-against-class] ICH_049: expected")
    assert text in warning


def test_rows_that_do_not_fit_the_scan(source: Path) -> None:
    write_tables(source, {**SLICES, 49: [*SLICES[49], ["EDH"]], 54: SLICES[54][:3]})
    folder = run(source)
    assert [warning.split(" -> ")[0] for warning in report(folder)["warnings"]] == [
        "[slice-count] ICH_049: expected a row of the table for each of the 4 slices, got 5 rows; "
        "rows without slice: 5",
        "[slice-count] ICH_054: expected a row of the table for each of the 4 slices, got 3 rows; "
        "slices without row: 4, their labels are unknown",
    ]
    cases = read_sidecar(folder / "class_labels.json").cases
    assert cases["ICH_054"].slices["findings"] == ((), (), (), None)
    assert len(cases["ICH_049"].slices["findings"]) == 4


def test_tables_that_contradict_each_other_or_miss_somebody(source: Path) -> None:
    path = source / "Patient_demographics.csv"
    text = (
        path.read_text().replace("49,19,Female,,,,1,,1,", "49,19,Female,,1,,,,,").replace("54,24,Female,,,,,,,\n", "")
    )
    path.write_text(text + "59,20,Male,,,,,,,\n")
    folder = run(source)
    assert [warning.split(" -> ")[0] for warning in report(folder)["warnings"]] == [
        "Patient_demographics.csv names patients without a scan: 59",
        "Patient_demographics.csv does not name 54: age and sex are unknown",
        "[contradicting-tables] Patient_demographics.csv: expected the kinds of hemorrhage of its slices for every "
        "patient, got another for 49",
        "[contradicting-tables] Patient_demographics.csv: expected the fracture of its slices for every patient, "
        "got another for 49",
    ]
    assert read_sidecar(folder / "class_labels.json").cases["ICH_054"].attributes == {}


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


def test_what_is_missing_is_refused_all_at_once_or_taken_by_option(source: Path) -> None:
    (source / "ct_scans" / "050.nii").unlink()
    (source / "masks" / "054.nii").unlink()
    path = source / "hemorrhage_diagnosis_raw_ct.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("80,")]
    path.write_text("\n".join([*lines, row(131, 1, [])]))
    found = faults(source)
    assert [(error.code, error.fault) for error in found] == [
        ("missing-image", "expected a scan of every patient in the table of slices, found none for 50, 131"),
        ("missing-image", "expected a scan for every mask, found none for 50"),
        ("missing-row", "expected rows for every scan, found none for 80"),
        ("missing-mask", "expected a mask for every scan, found none for 54"),
    ]
    assert found[0].where.endswith("ct-ich/ct_scans")
    assert found[3].where.endswith("ct-ich/masks")
    assert all("--allow-missing" in error.remedy for error in found)
    folder = run(source, allow_missing=True)
    assert report(folder)["counts"]["training"] == 3
    assert report(folder)["counts"]["label_only"] == 1
    assert len([warning for warning in report(folder)["warnings"] if warning.startswith("[missing-")]) == 4
    cases = read_sidecar(folder / "class_labels.json").cases
    assert cases["ICH_080"].labels == {}
    assert cases["ICH_080"].slices == {}
    assert cases["ICH_054"].labels["ich"] == "no_hemorrhage"
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "hemorrhage": 1, "ignore": 2}
    assert set(np.unique(read_itk(folder / "labelsTr" / "ICH_054.nii.gz"))) == {2}


def test_files_that_are_not_the_published_ones_are_named(source: Path) -> None:
    write_checksums(source)
    for name in ("ct_scans/049.nii", "masks/080.nii"):
        path = source / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1  # plain NIfTI has no checksum of its own
        path.write_bytes(content)
    found = faults(source)
    assert [(error.code, error.where.rpartition("ct-ich/")[2]) for error in found] == [
        ("checksum-differs", "ct_scans/049.nii"),
        ("checksum-differs", "masks/080.nii"),
    ]
    assert "of SHA256SUMS.txt, got" in found[0].fault
    assert "remove its line from SHA256SUMS.txt" in found[0].remedy


def test_changed_tables_and_faulty_checksums(source: Path) -> None:
    write_checksums(source)
    (source / "Patient_demographics.csv").write_text("Patient Number\n49\n")
    (error,) = faults(source)
    assert error.code == "checksum-differs"
    assert error.where.endswith("Patient_demographics.csv")
    (source / "SHA256SUMS.txt").write_text(f"{'0' * 64} *LICENSE.txt\nabc LICENSE.txt\n\n")
    (error,) = faults(source)
    assert (error.code, error.fault) == ("bad-checksums", "expected a SHA-256 and a file name, got 'abc LICENSE.txt'")
    assert error.where.endswith("SHA256SUMS.txt: line 2")


def test_every_damaged_scan_is_named(source: Path) -> None:
    truncated = source / "ct_scans" / "049.nii"
    truncated.write_bytes(truncated.read_bytes()[:-5])
    save(source / "masks" / "050.nii", blood(SLICES[50]) // 255 * 254)
    downwards = LAS.copy()
    downwards[2, 2] *= -1
    save(source / "ct_scans" / "054.nii", np.zeros((4, 7, 6)), downwards)
    save(source / "masks" / "080.nii", blood(SLICES[80])[:3])
    found = faults(source)
    assert [error.code for error in found] == ["truncated-file", "unknown-mask-value", "slice-order", "shape-differs"]
    assert found[1].fault == "expected the values 0 and 255, got 254 (8 voxels)"
    assert "from the skull base upwards" in found[2].fault


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


def test_names_that_are_no_patients(source: Path) -> None:
    save(source / "ct_scans" / "49.nii", np.zeros((4, 7, 6)))
    save(source / "ct_scans" / "049 (1).nii", np.zeros((4, 7, 6)))
    found = faults(source)
    assert [error.code for error in found] == ["bad-image-name", "duplicate-case"]
    assert found[0].fault == "expected a patient number as name, got '049 (1)'"
    assert found[1].fault == "expected patient 49 once, 049.nii is the same"


def test_unknown_labels(source: Path) -> None:
    with pytest.raises(InputError, match=r"\[unknown-labels\] .*expected binary or subtype, got 'kinds'"):
        run(source, labels="kinds")


def test_unknown_layouts(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(
        InputError, match=r"\[unknown-layout\] .*ct_scans \(1.3.x\) or Patients_CT .*, found neither ->"
    ):
        run(tmp_path / "nothing")
    (tmp_path / "ct_scans").mkdir()
    (tmp_path / "Patients_CT").mkdir()
    with pytest.raises(InputError, match=r"found both -> point --input"):
        convert(tmp_path, tmp_path / "raw", dataset_id=1)


def test_bone_channel_of_volumes_is_refused(source: Path) -> None:
    with pytest.raises(
        InputError, match=r"\[contradicting-options\] --bone-channel: .*use --windows ct-ich,ct-ich-bone"
    ):
        run(source, bone_channel=True)


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
    assert {error.code for error in verification.errors} <= {"one-class"}
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
    assert main([*command, "--split", "hoseyni-like", "--dry-run"]) == 1
    assert "ERROR [" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--split", "other"])


def test_missing_files_and_faulty_tables_hide_no_fault_of_a_scan(source: Path) -> None:
    write_checksums(source)
    (source / "masks" / "080.nii").unlink()
    (source / "ct_scans" / "050.nii").unlink()
    path = source / "ct_scans" / "049.nii"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    missing = ["missing-image", "missing-image", "missing-mask"]
    for dry_run in (False, True):
        options = ConversionOptions(progress=False, num_workers=1, dry_run=dry_run)
        assert [error.code for error in faults(source, options=options)] == [*missing, "checksum-differs"]
    # a split that misses patients is one more fault
    assert [error.code for error in faults(source, split="ihsnet")] == [*missing, "missing-patient", "checksum-differs"]
    (source / "SHA256SUMS.txt").write_text(f"garbage\n{'0' * 64} ct_scans/049.nii\n")
    (source / "hemorrhage_diagnosis_raw_ct.csv").write_text(f"{HEADER}\n{row(49, 1, []).replace('49', 'x')}\n")
    (source / "Patient_demographics.csv").write_text("Age\n3\n")
    save(source / "masks" / "x.nii", blood(SLICES[49]))
    assert [(error.code, Path(error.where).name) for error in faults(source)] == [
        ("bad-image-name", "x.nii"),
        ("bad-checksums", "SHA256SUMS.txt: line 1"),
        ("bad-row", "hemorrhage_diagnosis_raw_ct.csv: line 2"),
        ("bad-table", "Patient_demographics.csv"),
        ("checksum-differs", "049.nii"),
    ]
