"""HemSeg-200: its layout, and the faults that its publication has."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.hemseg200 import HemSegOptions, convert
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_image
from nnunet_multitask.labels import Case, read_sidecar

SCANS = {"train": ["00000000a1", "00000000a2"], "val": ["00000000b1"], "test": ["00000000c1"]}
CLASSES = {"00000000a1": 0, "00000000a2": 1, "00000000b1": 1, "00000000c1": 0}
AFFINE = np.diag([-0.5, -0.5, 5.0, 1.0])


def save(path: Path, num_slices: int = 4, dtype: type = np.int16, mask: bool = False) -> None:
    array = np.zeros((6, 5, num_slices), dtype)
    if mask:
        array[2, 1, 3] = 1
    else:
        array += np.arange(num_slices, dtype=dtype) - 1000
        array[0, 0, 0] = int(path.name[:10], 16) % 1000  # no two scans are the same
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for split, scans in SCANS.items():
        for scan in scans:
            save(root / split / "image" / f"{scan}.nii.gz")
            save(root / split / "label" / f"{scan}.nii.gz", mask=True)
    # the tables carry another split than the folders, as the published ones do
    for split, scans in (("train", ["00000000c1", "00000000a1"]), ("val", ["00000000a2"]), ("test", ["00000000b1"])):
        rows = "".join(f"{scan},{CLASSES[scan]}\n" for scan in scans)
        (root / f"{split}_set.csv").write_text(f"filename,label\n{rows}")
    write_patients(root, {"00000000a1": "ID_1", "00000000a2": "ID_2", "00000000b1": "ID_3", "00000000c1": "ID_4"})
    (tmp_path / "raw").mkdir()
    return root


def write_patients(root: Path, patients: dict[str, str], keys: tuple[str, str] = ("patient", "scan_")) -> None:
    lines = [json.dumps({keys[0]: patient, keys[1]: scan, "slice_list": []}) for scan, patient in patients.items()]
    (root / "annotion_file_info.jsonl").write_text("\n".join(lines) + "\n")


def run(source: Path, **options: object) -> Path:
    chosen = ConversionOptions(overwrite=bool(options.pop("overwrite", False)), progress=False, num_workers=1)
    return convert(source, source.parent / "raw", dataset_id=200, options=chosen, **options).folder  # type: ignore[arg-type]


def report(folder: Path) -> dict:
    return read_json(folder / "conversion_report.json")


def test_whole_dataset(source: Path) -> None:
    folder = run(source)
    assert folder.name == "Dataset200_HemSeg200"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "class_labels.json",
        "conversion_report.json",
        "dataset.json",
        "imagesTr/HEM_00000000a1_0000.nii.gz",
        "imagesTr/HEM_00000000a2_0000.nii.gz",
        "imagesTr/HEM_00000000b1_0000.nii.gz",
        "imagesTs/HEM_00000000c1_0000.nii.gz",
        "labelsTr/HEM_00000000a1.nii.gz",
        "labelsTr/HEM_00000000a2.nii.gz",
        "labelsTr/HEM_00000000b1.nii.gz",
        "labelsTs/HEM_00000000c1.nii.gz",
    ]
    dataset = read_json(folder / "dataset.json")
    assert dataset["channel_names"] == {"0": "CT"}
    assert dataset["labels"] == {"background": 0, "hemorrhage": 1}
    assert dataset["numTraining"] == 3
    assert dataset["file_ending"] == ".nii.gz"
    assert dataset["overwrite_image_reader_writer"] == "SimpleITKIO"
    sidecar = read_sidecar(folder / "class_labels.json")
    assert sidecar.targets["subtype"].classes == ("IPH", "IVH")
    assert sidecar.targets["subtype"].type == "multiclass"
    assert sidecar.cases == {
        "HEM_00000000a1": Case({"subtype": "IPH"}, "ID_1", "train"),
        "HEM_00000000a2": Case({"subtype": "IVH"}, "ID_2", "train"),
        "HEM_00000000b1": Case({"subtype": "IVH"}, "ID_3", "val"),
        "HEM_00000000c1": Case({"subtype": "IPH"}, "ID_4", "test"),
    }
    assert report(folder)["counts"] == {"training": 3, "test": 1, "label_only": 0, "repaired": 0, "excluded": 0}
    assert report(folder)["warnings"] == []


def test_files_are_copied_and_the_source_is_untouched(source: Path) -> None:
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    folder = run(source)
    copy = folder / "imagesTr" / "HEM_00000000a1_0000.nii.gz"
    assert copy.read_bytes() == before[source / "train" / "image" / "00000000a1.nii.gz"]
    assert not copy.is_symlink()
    assert copy.stat().st_nlink == 1
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def test_depth_of_mask_differs(source: Path) -> None:
    save(source / "train" / "label" / "00000000a2.nii.gz", num_slices=5, mask=True)
    folder = run(source)
    assert report(folder)["counts"] == {"training": 2, "test": 1, "label_only": 0, "repaired": 0, "excluded": 1}
    (excluded,) = report(folder)["excluded"]
    assert (excluded["case"], excluded["code"]) == ("HEM_00000000a2", "shape-differs")
    assert "(4, 5, 6)" in excluded["reason"]
    assert "(5, 5, 6)" in excluded["reason"]
    assert "HEM_00000000a2" not in read_sidecar(folder / "class_labels.json").cases


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


def test_scan_that_no_table_names_is_unknown(source: Path) -> None:
    (source / "test_set.csv").unlink()
    folder = run(source)
    assert read_sidecar(folder / "class_labels.json").cases["HEM_00000000b1"].labels == {}
    assert report(folder)["warnings"] == ["HEM_00000000b1: no table names its class; it is unknown"]


def test_image_without_mask_is_left_out(source: Path) -> None:
    (source / "train" / "label" / "00000000a1.nii.gz").unlink()
    (excluded,) = report(run(source))["excluded"]
    assert excluded["reason"] == "there is no train/label/00000000a1.nii.gz"


def test_float_mask_is_repaired(source: Path) -> None:
    path = source / "train" / "label" / "00000000a1.nii.gz"
    array = np.zeros((6, 5, 4), np.float32)
    array[2, 1, 3] = 1.0000153
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    folder = run(source)
    written = nibabel.load(folder / "labelsTr" / "HEM_00000000a1.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert np.asarray(written.dataobj)[2, 1, 3] == 1
    np.testing.assert_array_equal(written.affine, AFFINE)
    assert report(folder)["counts"]["repaired"] == 1
    assert report(folder)["cases"]["HEM_00000000a1"]["repairs"] == ["1 mask voxels beside an integer were rounded"]


def test_empty_mask_and_image_without_hounsfield_units_give_warnings(source: Path) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((6, 5, 4), np.int16), AFFINE), source / "train" / "label" / "00000000a1.nii.gz"
    )
    nibabel.save(
        nibabel.Nifti1Image(np.ones((6, 5, 4), np.uint8), AFFINE), source / "train" / "image" / "00000000a2.nii.gz"
    )
    assert report(run(source))["warnings"] == [
        "[mask-against-class] train/label/00000000a1.nii.gz: expected foreground, since its class says so, got an "
        "empty mask -> look at the case; correct mask or class",
        "[no-hounsfield] train/image/00000000a2.nii.gz: expected Hounsfield units, got uint8 voxels of 1 to 1, an "
        "8-bit picture -> convert the original CT, or give the channel another name, by which nnU-Net normalises it",
    ]


def test_images_missing_altogether(source: Path) -> None:
    for split in SCANS:
        for path in (source / split / "image").iterdir():
            path.unlink()
        (source / split / "image").rmdir()
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert len(caught.value.errors) == 3
    assert (
        "train/image: expected the images of 2 masks, found none -> build train/image/SCAN.nii.gz from the RSNA"
        in str(caught.value)
    )
    assert list((source.parent / "raw").iterdir()) == []


def test_one_image_missing(source: Path) -> None:
    (source / "val" / "image" / "00000000b1.nii.gz").unlink()
    save(source / "val" / "image" / "00000000b9.nii.gz")
    with pytest.raises(InputErrors, match=r"\[missing-image\] .*val/image/00000000b1.nii.gz: expected an image"):
        run(source)


def test_every_damaged_file_is_named_and_nothing_written(source: Path) -> None:
    first, second = source / "train" / "image" / "00000000a1.nii.gz", source / "test" / "label" / "00000000c1.nii.gz"
    first.write_bytes(first.read_bytes()[:-9])
    array = np.full((6, 5, 4), 3, np.int16)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), second)
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert [error.code for error in caught.value.errors] == ["damaged-gzip", "unknown-mask-value"]
    assert list((source.parent / "raw").iterdir()) == []


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("filename,label\n00000000a1,2\n", r"train_set.csv: line 2: expected 0 \(IPH\) or 1 \(IVH\), got '2'"),
        ("filename,label\n00000000a1,1.0\n", "got '1.0'"),
        ("filename,label\n00000000a1,\n", "got ''"),
        (
            "filename,label\n00000000a2,0\n",
            r"val_set.csv: line 2: expected one class for 00000000a2, .*line 2 has another",
        ),
        ("scan,label\n00000000a1,0\n", "expected the columns filename and label, got scan, label"),
    ],
)
def test_faulty_tables(source: Path, table: str, text: str) -> None:
    (source / "train_set.csv").write_text(table)
    with pytest.raises(InputErrors, match=text):
        run(source)


def test_faulty_patient_file(source: Path) -> None:
    (source / "annotion_file_info.jsonl").write_text('{"patient": "ID_1", "scan_": "00000000a1"}\nnot json\n["a"]\n')
    with pytest.raises(InputErrors, match=r"jsonl: line 2: expected .*got not json(.|\n)*line 3"):
        run(source)


def test_other_layout(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=r"\[unknown-layout\] .*point --input"):
        convert(tmp_path, tmp_path / "raw", dataset_id=1)


def test_same_scan_in_two_splits(source: Path) -> None:
    for kind in ("image", "label"):
        save(source / "test" / kind / "00000000a1.nii.gz", mask=kind == "label")
    with pytest.raises(InputErrors, match=r"\[duplicate-case\] .*test/label/00000000a1.*train/label/00000000a1"):
        run(source)


def test_existing_dataset(source: Path) -> None:
    folder = run(source)
    (folder / "mine.txt").touch()
    with pytest.raises(InputError, match=r"\[already-exists\] .*--overwrite"):
        run(source)
    with pytest.raises(InputError, match=r"\[duplicate-dataset-id\] .*taken by Dataset200_HemSeg200"):
        run(source, dataset_name="Other")
    assert (folder / "mine.txt").exists()
    run(source, overwrite=True)
    assert not (folder / "mine.txt").exists()


def test_only_a_converted_dataset_is_replaced(source: Path) -> None:
    folder = source.parent / "raw" / "Dataset200_HemSeg200"
    folder.mkdir()
    run(source, overwrite=True)  # an empty folder is no loss
    (folder / "conversion_report.json").unlink()
    for overwrite in (False, True):
        with pytest.raises(
            InputError,
            match=r"expected nothing or a dataset written by a converter \(conversion_report.json\), "
            r"got a folder with other files -> move it away",
        ):
            run(source, overwrite=overwrite)
    assert (folder / "dataset.json").exists()


def test_qform_only_and_oblique_headers_arrive(source: Path) -> None:
    angle = np.deg2rad(12)
    affine = np.eye(4)
    affine[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]] @ AFFINE[:3, :3]
    for kind in ("image", "label"):
        array = np.full((6, 5, 4), -1000, np.int16) if kind == "image" else np.zeros((6, 5, 4), np.int16)
        array[2, 1, 3] = 1
        image = nibabel.Nifti1Image(array, None)
        image.set_qform(affine, code=1)
        image.set_sform(None, code=0)
        nibabel.save(image, source / "train" / kind / "00000000a1.nii.gz")
    volume = read_image(run(source) / "imagesTr" / "HEM_00000000a1_0000.nii.gz")
    z, y, x = np.argwhere(volume.array == 1)[0]
    np.testing.assert_allclose((volume.affine @ [x, y, z, 1])[:3], (affine @ [2, 1, 3, 1])[:3], atol=1e-4)


def test_labels_by_subtype(source: Path) -> None:
    folder = run(source, hemseg=HemSegOptions(labels="subtype"))
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "IPH": 1, "IVH": 2}
    for scan, value in (("00000000a1", 1), ("00000000a2", 2), ("00000000b1", 2)):
        written = nibabel.load(folder / "labelsTr" / f"HEM_{scan}.nii.gz")
        assert np.argwhere(np.asarray(written.dataobj)).tolist() == [[2, 1, 3]]
        assert np.asarray(written.dataobj)[2, 1, 3] == value
        np.testing.assert_array_equal(written.affine, AFFINE)
    original = source / "train" / "label" / "00000000a1.nii.gz"
    assert (folder / "labelsTr" / "HEM_00000000a1.nii.gz").read_bytes() == original.read_bytes()


def test_subtype_needs_a_class_and_a_mask_of_one_value(source: Path) -> None:
    (source / "test_set.csv").unlink()  # it named 00000000b1
    folder = run(source, hemseg=HemSegOptions(labels="subtype"))
    (excluded,) = report(folder)["excluded"]
    assert (excluded["case"], excluded["code"]) == ("HEM_00000000b1", "unknown-class")
    path = source / "train" / "label" / "00000000a1.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((6, 5, 4), 2, np.int16), AFFINE), path)
    with pytest.raises(InputErrors, match=r"\[unknown-mask-value\] .*expected the values \[0, 1\], got 2"):
        run(source, overwrite=True, hemseg=HemSegOptions(labels="subtype"))


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


def faults(source: Path, **options: object) -> list[tuple[str, str]]:
    with pytest.raises(InputErrors) as caught:
        run(source, **options)
    assert list((source.parent / "raw").iterdir()) == []
    return [(error.code, Path(error.where).name) for error in caught.value.errors]


def test_a_missing_image_hides_no_fault_of_the_other_files(source: Path) -> None:
    (source / "train" / "image" / "00000000a2.nii.gz").unlink()
    (source / "val" / "image" / "00000000b1.nii.gz").unlink()  # the only one of its split
    damaged = source / "train" / "image" / "00000000a1.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert faults(source) == [
        ("missing-image", "00000000a2.nii.gz"),
        ("missing-images", "image"),
        ("damaged-gzip", "00000000a1.nii.gz"),
    ]


def test_faulty_tables_hide_neither_each_other_nor_files(source: Path) -> None:
    (source / "train_set.csv").write_text("filename,label\n00000000a1,2\n")
    with (source / "annotion_file_info.jsonl").open("a") as lines:
        lines.write("garbage\n")
    damaged = source / "train" / "label" / "00000000a1.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    for labels in ("binary", "subtype"):
        assert faults(source, hemseg=HemSegOptions(labels=labels, resplit=True)) == [  # type: ignore[arg-type]
            ("unknown-class", "train_set.csv: line 2"),
            ("bad-json", "annotion_file_info.jsonl: line 5"),
            ("damaged-gzip", "00000000a1.nii.gz"),
        ]


def test_scans_without_image_are_left_out_by_option(source: Path) -> None:
    (source / "train" / "image" / "00000000a2.nii.gz").unlink()
    (source / "test" / "image" / "00000000c1.nii.gz").unlink()  # the only one of its split
    with pytest.raises(InputErrors, match="or leave the scans out by --allow-missing"):
        run(source)
    folder = run(source, hemseg=HemSegOptions(allow_missing=True))
    assert report(folder)["counts"] == {"training": 2, "test": 0, "label_only": 0, "repaired": 0, "excluded": 2}
    assert [(item["case"], item["code"], item["reason"]) for item in report(folder)["excluded"]] == [
        ("HEM_00000000a2", "missing-image", "there is no train/image/00000000a2.nii.gz"),
        ("HEM_00000000c1", "missing-image", "there is no test/image/00000000c1.nii.gz"),
    ]
    assert report(folder)["options"]["allow_missing"] is True


def test_seed_without_resplit_is_refused(source: Path) -> None:
    with pytest.raises(
        InputError, match=r"\[contradicting-options\] --seed: expected --seed with --resplit only, got it without"
    ):
        run(source, hemseg=HemSegOptions(seed=3))
