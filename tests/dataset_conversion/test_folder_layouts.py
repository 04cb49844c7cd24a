"""The generic converter: folders of nnU-Net and of the Decathlon, and the endings of files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from folder_source import make, run, save

from nnunet_multitask.dataset_conversion.folder import convert
from nnunet_multitask.dataset_conversion.folder_settings import FolderSettings
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputErrors
from nnunet_multitask.labels import Case, read_sidecar

HIPPOCAMPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "hippocampus"


def test_other_endings_are_kept(tmp_path: Path) -> None:
    folder = run(make(tmp_path, "case,c\na,x\nb,y\nc,y\n", ending=".nii"))
    assert (folder / "imagesTr" / "a_0000.nii").exists()
    assert read_json(folder / "dataset.json")["file_ending"] == ".nii"


def test_raw_dataset_of_nnunet(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    source = tmp_path / "in"
    for case, part in (("a", "Tr"), ("b", "Tr"), ("c", "Ts")):
        save(source / f"images{part}" / f"{case}_0000.nii.gz")
        save(source / f"images{part}" / f"{case}_0001.nii.gz")
    for case in "ab":
        save(source / "labelsTr" / f"{case}.nii.gz", values=2)
    dataset = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "licence": "CC0",
    }
    write_json(source / "dataset.json", dataset)
    write_json(tmp_path / "grades.json", {"a": "x", "b": "y", "c": "x"})
    folder = run(source, table=tmp_path / "grades.json", channel_names=None)
    assert [path.name for path in sorted(folder.glob("*T*/*"))] == [
        "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz", "c_0000.nii.gz", "c_0001.nii.gz",
        "a.nii.gz", "b.nii.gz",
    ]  # fmt: skip
    written = read_json(folder / "dataset.json")
    assert {key: written[key] for key in dataset} == dataset
    cases = read_sidecar(folder / "class_labels.json").cases
    assert cases == {"a": Case({"class": "x"}), "b": Case({"class": "y"}), "c": Case({"class": "x"}, split="test")}
    assert read_json(folder / "conversion_report.json")["options"]["table"] == "grades.json"

    (tmp_path / "t.csv").write_text("case,k,split\na,x,train\nb,y,train\nc,x,train\n")
    with pytest.raises(InputErrors, match=r"\[split-differs\] .*c_0000.*lies in imagesTs, got 'train'"):
        run(source, table=tmp_path / "t.csv", channel_names=None, overwrite=True)

    again = tmp_path / "again"
    again.mkdir()
    settings, options = FolderSettings(), ConversionOptions(progress=False, num_workers=1)
    twin = convert(folder, again, dataset_id=7, dataset_name="Own", settings=settings, options=options).folder
    for name in ("class_labels.json", "dataset.json", "labelsTr/a.nii.gz", "imagesTs/c_0001.nii.gz"):
        assert (twin / name).read_bytes() == (folder / name).read_bytes()  # what is converted converts to itself


def test_task_of_the_decathlon(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    source = tmp_path / "in"
    arrays = {name: np.random.default_rng(seed).random((4, 5, 3, 2), np.float32) for seed, name in enumerate("abt")}
    for name, array in arrays.items():
        part = "Ts" if name == "t" else "Tr"
        (source / f"images{part}").mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), source / f"images{part}" / f"{name}.nii.gz")
    for name in "ab":
        (source / "labelsTr").mkdir(exist_ok=True)
        mask = np.ones((4, 5, 3), np.float32)
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), source / "labelsTr" / f"{name}.nii.gz")
    task = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema"},
        "training": [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in "ab"],
        "test": ["./imagesTs/t.nii.gz"],
    }
    write_json(source / "dataset.json", task)
    (source / "classes.tsv").write_text("id\tgrade\na\tLGG\nb\tHGG\nt\tHGG\n")
    folder = run(source, channel_names=None, classes_from_masks="shown")
    dataset = read_json(folder / "dataset.json")
    assert dataset["channel_names"] == {"0": "FLAIR", "1": "T1w"}
    assert dataset["labels"] == {"background": 0, "edema": 1}
    for name, array in arrays.items():
        part = "Ts" if name == "t" else "Tr"
        for channel in range(2):
            written = nibabel.load(folder / f"images{part}" / f"{name}_{channel:04d}.nii.gz")
            np.testing.assert_array_equal(written.dataobj, array[..., channel])
    sidecar = read_sidecar(folder / "class_labels.json")
    assert sidecar.cases["a"].labels == {"grade": "LGG", "shown": "edema"}
    assert sidecar.cases["t"].labels == {"grade": "HGG"}
    report = read_json(folder / "conversion_report.json")
    assert list(report["cases"]["a"]["inputs"]) == ["imagesTr/a.nii.gz", "labelsTr/a.nii.gz"]

    write_json(source / "dataset.json", task | {"modality": {"0": "A", "1": "B", "2": "C"}})
    with pytest.raises(InputErrors, match=r"\[missing-channel\] .*a.nii.gz: expected 3 channels, .* got 2 -> correct"):
        run(source, channel_names=None, overwrite=True)
    with pytest.raises(InputErrors, match=r"\[not-3d\] .*imagesTr/a.nii.gz: expected a 3-D image, got the shape"):
        run(source, channel_names=["A"], overwrite=True)


def test_mixed_endings_become_one(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc,x\n")
    (source / "images" / "b.nii.gz").unlink()
    save(source / "images" / "b.nii")
    folder = run(source)
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [
        "a_0000.nii.gz", "b_0000.nii.gz", "c_0000.nii.gz",
    ]  # fmt: skip
    image = nibabel.load(folder / "imagesTr" / "b_0000.nii.gz")
    np.testing.assert_array_equal(image.dataobj, nibabel.load(source / "images" / "b.nii").dataobj)


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason=f"the sample data are absent: {HIPPOCAMPUS}")
def test_hippocampus(tmp_path: Path) -> None:
    folder = convert(
        HIPPOCAMPUS,
        tmp_path,
        dataset_id=4,
        dataset_name="Hippocampus",
        settings=FolderSettings(label_names=["anterior", "posterior"], channel_names=["MR"]),
        options=ConversionOptions(progress=False, num_workers=1),
    ).folder
    assert read_json(folder / "conversion_report.json")["counts"] == {
        "training": 60,
        "test": 20,
        "label_only": 0,
        "repaired": 0,
        "excluded": 0,
    }
    sidecar = read_sidecar(folder / "class_labels.json")
    assert list(sidecar.targets) == ["volume_class"]
    # the class is defined by the volume of both labels
    for case_id in ("hippocampus_004", "hippocampus_015"):
        mask = nibabel.load(folder / "labelsTr" / f"{case_id}.nii.gz")
        small = np.count_nonzero(np.asarray(mask.dataobj)) <= 3326
        assert sidecar.cases[case_id].labels["volume_class"] == ("small" if small else "large")
