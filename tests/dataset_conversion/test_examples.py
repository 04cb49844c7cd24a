"""The worked examples of docs/datasets.md: their commands, typed as they stand there, on folders in those layouts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.phantom_anatomy import SCALP
from nnunet_multitask.dataset_conversion.phantom_hemseg200 import plan_split
from nnunet_multitask.documents import read_json
from nnunet_multitask.files import read_image
from nnunet_multitask.labels import Case, read_sidecar

PAGE = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"
LABELS = ("EDH", "IPH", "IVH", "SAH", "SDH")


def section(title: str) -> str:
    """Return the text of a section of the page, up to the next heading."""
    return re.split(r"^#+ ", PAGE.read_text("utf-8").split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)


def run_commands(title: str) -> None:
    """Run every command of a section as a user would type it in the folder above the data."""
    lines = "".join(blocks(title, "bash")).replace("\\\n", " ").splitlines()
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line, comments=True)
        assert program == "nnunet-multitask"
        more = ["--folds", "2"] if arguments[0] == "split" else ["--num-workers", "1"]
        assert main([*arguments, *more]) == 0, line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: Path, array_xyz: npt.NDArray[np.generic], affine: npt.NDArray[np.float64], qform_only: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array_xyz, affine)
    image.set_qform(affine, code=1)
    image.set_sform(None if qform_only else affine, code=0 if qform_only else 1)
    nibabel.save(image, path)


def test_bhsd(folder: Path) -> None:
    affine = np.array([[-0.5, 0, 0, 60], [0, 0.5, 0, -70], [0, 0, 5, 10], [0, 0, 0, 1.0]])  # LAS
    scans = [("0b10cbee", "f91d6a7cd2"), ("0b10cbee", "04693e1d03"), ("1a2b3c4d", "08234011b8"), ("5e6f7a8b", "0")]
    kinds = [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]
    for others in ((1, 3, 5), (2, 4), (1, 4), (2, 3, 5), (5,), (1, 2), (3, 4), ()):  # for a fold with each, and without
        scans.append((f"a{len(scans)}", "1"))
        kinds.append(others)
    for number, (patient, scan) in enumerate(scans):
        name = f"ID_{patient}_ID_{scan}.nii.gz"
        image = np.random.default_rng(number).integers(-1000, 1000, (6, 7, 4), np.int16)
        mask = np.zeros((6, 7, 4), np.uint16)
        mask[0, : len(kinds[number]), 1] = kinds[number]
        save(folder / "label_192" / "images" / name, image, affine, qform_only=True)
        save(folder / "label_192" / "ground truths" / name, mask, affine, qform_only=True)

    run_commands("Example: BHSD")

    dataset = folder / "nnUNet_raw" / "Dataset192_BHSD"
    labels = {"background": 0, **{name: value for value, name in enumerate(LABELS, 1)}}
    assert read_json(dataset / "dataset.json")["labels"] == labels
    sidecar = read_sidecar(dataset / "class_labels.json")
    assert sidecar.cases["ID_0b10cbee_ID_f91d6a7cd2"] == Case({"findings": ("EDH",)}, "ID_0b10cbee")
    assert sidecar.cases["ID_5e6f7a8b_ID_0"] == Case({"findings": LABELS[:4]}, "ID_5e6f7a8b")
    target = sidecar.targets["findings"]
    assert (target.type, target.present_if_label["SDH"]) == ("multilabel", (5,))
    image = read_image(dataset / "imagesTr" / "ID_5e6f7a8b_ID_0_0000.nii.gz")
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    splits = read_json(folder / "nnUNet_preprocessed" / "Dataset192_BHSD" / "splits_final.json")
    for fold in splits:  # the two scans of one patient stay together
        assert sum("0b10cbee" in case for case in fold["val"]) in (0, 2)


def test_instance(folder: Path) -> None:
    _, readings, *_ = blocks("Example: INSTANCE 2022", "")
    (folder / "readings.csv").write_text(readings)
    scans = []
    for name, case in zip(("001", "002", "003"), plan_split("train", 3), strict=True):
        scan = case.draw()
        scans.append(scan)
        if name == "003":
            scan.mask[tuple(np.argwhere(scan.tissue == SCALP)[0])] = 1  # a slip of the pen
        save(folder / "train_2" / "data" / f"{name}.nii.gz", scan.image.T, scan.affine, qform_only=False)
        save(folder / "train_2" / "label" / f"{name}.nii.gz", scan.mask.T, scan.affine, qform_only=False)

    run_commands("Example: INSTANCE 2022")

    dataset = folder / "nnUNet_raw" / "Dataset022_INSTANCE2022"
    document = read_json(dataset / "dataset.json")
    assert document["channel_names"] == {"0": "rgb_to_0_1"}
    assert document["labels"] == {"background": 0, "hemorrhage": 1}
    sidecar = read_sidecar(dataset / "class_labels.json")
    assert {name: (target.type, target.classes) for name, target in sidecar.targets.items()} == {
        "site": ("multiclass", ("deep", "lobar")),
        "kinds": ("multilabel", ("IPH", "IVH", "SDH")),
    }
    assert sidecar.cases["001"].labels == {"site": "deep", "kinds": ("IPH", "IVH")}
    assert sidecar.cases["003"].labels == {"kinds": ("SDH",)}
    channel = read_image(dataset / "imagesTr" / "002_0000.nii.gz").array
    blood = scans[1].mask > 0
    expected = np.clip((scans[1].image[blood] + 20.0) / 120, 0, 1) * 255  # 40/120 HU
    assert np.abs(channel[blood] - expected).max() <= 0.51
    assert channel[0, 0, 0] == 0
    (warning,) = read_json(dataset / "conversion_report.json")["warnings"]
    assert warning.startswith(
        "[label-outside-skull] label/003.nii.gz: expected all labelled voxels inside of the skull, "
    )
    assert main(["verify", "22", "--json"]) == 0


def test_zeros_that_a_spreadsheet_took(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    affine = np.eye(4)
    for name in ("001", "002"):
        for kind in ("data", "label"):
            save(folder / "train_2" / kind / f"{name}.nii.gz", np.ones((3, 3, 3), np.int16), affine, qform_only=False)
    (folder / "readings.csv").write_text("scan,site\n1,a\n2,b\n")
    arguments = "convert folder --input train_2 --images data --labels label --table readings.csv --dataset-id 22"
    assert main([*arguments.split(), "--dataset-name", "X"]) == 1
    assert "expected an image of '1', found none -> " in (text := capsys.readouterr().err)
    assert "did you mean '001'?" in text


def test_any_folder(folder: Path) -> None:
    layout, table = blocks("Any folder", "")
    assert layout.startswith("mydata/")
    for name, seed in (("case_01", 1), ("case_02", 2)):
        image = np.random.default_rng(seed).integers(-1000, 1000, (4, 4, 4), np.int16)
        save(folder / "mydata" / "images" / f"{name}.nii.gz", image, np.eye(4), qform_only=False)
        mask = np.ones((4, 4, 4), np.uint8)
        save(folder / "mydata" / "labels" / f"{name}.nii.gz", mask, np.eye(4), qform_only=False)
    (folder / "mydata" / "classes.csv").write_text(table)
    run_commands("Any folder")
    sidecar = read_sidecar(folder / "nnUNet_raw" / "Dataset010_Own" / "class_labels.json")
    assert sidecar.cases["case_02"] == Case({"grade": "low"}, "P2", "test", {"age": 33})
    assert (folder / "nnUNet_raw" / "Dataset010_Own" / "imagesTs" / "case_02_0000.nii.gz").is_file()
