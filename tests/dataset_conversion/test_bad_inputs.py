"""The bad inputs 1 to 28, each put into a sound dataset, and the answer of ``verify``: severity, code and message.

23 to 25, as faults of a class table, are in ``test_bad_tables``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nifti_files import BAD_FILES, BadFile, save_nifti, sheared
from raw_datasets import AFFINE, SHAPE_ZYX, change, lesion_mask, make_dataset, save, scan

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.verification import verify_dataset
from nnunet_multitask.documents import write_json

# what the message of each damaged file says
MESSAGES = {
    "truncated": "expected a whole compressed stream, got: Compressed file ended before the end-of-stream marker",
    "flipped bit": "expected a whole compressed stream, got: CRC check failed",
    "shorter than its header says": "expected 472 bytes by its header, got 467",
    "empty file": "expected content, got 0 bytes",
    "text file": "expected ",  # by its ending a gzip, or by its content a NIfTI
    "folder": "expected a readable file, got: Is a directory",
    "link loop": "expected a readable file, got: Too many levels of symbolic links",
    "plain NIfTI": "expected the content that the ending tells, got no gzip",
    "gzip": "expected the content that the ending tells, got gzip",
    "header of 32767 cubed": "expected 70362301923678 bytes by its header, got 472",
    "longer than its header says": "expected 472 bytes by its header, got more",
    "negative dimension": "expected positive dimensions, got [-4, 5, 3, 1, 1, 1, 1]",
    "zero dimension": "expected positive dimensions, got [4, 0, 3, 1, 1, 1, 1]",
    "unknown datatype": "expected a known datatype, got the code 999",
    "bad magic": "expected a NIfTI-1 file, got another magic number",
    "spacing 0": "expected (x, y, z) spacing in 0 to 50 mm, got [0.0, 0.6, 5.0]",
    "spacing NaN": "expected (x, y, z) spacing in 0 to 50 mm, got [nan, 0.6, 5.0]",
    "spacing negative": "expected (x, y, z) spacing in 0 to 50 mm, got [-0.5, 0.6, 5.0]",
    "spacing above 50 mm": "expected (x, y, z) spacing in 0 to 50 mm, got [50.5, 0.6, 5.0]",
    "NaN voxel": "expected finite voxels, got 1 NaN or infinite, the first at (z, y, x) = (2, 1, 3)",
    "infinite voxel": "expected finite voxels, got 1 NaN or infinite, the first at (z, y, x) = (2, 1, 3)",
    "NaN in a mask": "expected finite voxels, got 1 NaN or infinite, the first at (z, y, x) = (2, 1, 3)",
    "2-D": "expected a 3-D image, got the shape (20, 3)",
    "4-D": "expected a 3-D image, got the shape (2, 2, 5, 3)",
    "RGB": "expected real numbers, got [('R', 'u1'), ('G', 'u1'), ('B', 'u1')]",
    "complex": "expected real numbers, got complex64",
    "sheared affine": "expected axes at right angles, got a sheared affine, as a tilted gantry leaves it",
}


@dataclass(frozen=True)
class Fault:
    """One bad input and its answer.

    Args:
        number: of the bad input.
        name: what is bad.
        damage: puts it into a dataset.
        severity: ``ERROR``, ``WARN`` or ``VALID``.
        code: of the answer; empty for valid inputs.
        where: end of the place that the answer names.
        texts: what its message says.
    """

    number: int
    name: str
    damage: Callable[[Path], Any]
    severity: str
    code: str = ""
    where: str = ""
    texts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.number}-{self.name}"


def mask(array: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda dataset: save(dataset / "labelsTr" / "a.nii.gz", array, **options)


def image(array: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda dataset: save(dataset / "imagesTr" / "a_0000.nii.gz", array, **options)


def sidecar(edit: Callable[[Any], Any]) -> Callable[[Path], Any]:
    return lambda dataset: change(dataset / "class_labels.json", edit)


def both(*damages: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda dataset: [damage(dataset) for damage in damages]


def shifted(millimetres: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] = millimetres
    return affine


def large_lesion(mirrored: bool) -> Callable[[Path], Any]:
    """Fresh blood in one half of a larger scan, and its mask there or in the other half."""
    array = np.full((4, 20, 20), -1000, np.int16)
    array[:, 2:-2, 2:-2] = 30
    array[:, 5:15, 4:8] = 70
    blood = (array == 70).astype(np.uint8)
    return both(image(array), mask(blood[:, :, ::-1] if mirrored else blood))


def declare_ich(label: str, voxels: bool) -> Callable[[Path], Any]:
    """A target whose positive class means the label 1; case a says ``label`` and has voxels of it, or none."""

    def edit(document: Any) -> None:
        rule = {"type": "binary", "classes": ["no", "yes"], "present_if_label": {"yes": [1]}}
        document["targets"]["ich"] = rule
        for case in "abcdef":
            document["cases"][case]["labels"]["ich"] = "yes"
        document["cases"]["a"]["labels"]["ich"] = label
        document["cases"]["b"]["labels"]["ich"] = "no"

    empty = np.zeros(SHAPE_ZYX, np.uint8)
    of_b = lambda dataset: save(dataset / "labelsTr" / "b.nii.gz", empty)  # noqa: E731  as the other damages
    return both(sidecar(edit), of_b, mask(lesion_mask() if voxels else empty))


def another_qform(dataset: Path) -> None:
    qform = AFFINE.copy()
    qform[2, 3] = 7
    save_nifti(dataset / "imagesTr" / "a_0000.nii.gz", scan(0).T, AFFINE, qform)


def folds(train: str, val: str) -> Callable[[Path], Any]:
    return lambda dataset: write_json(dataset.parent / "splits_final.json", [{"train": list(train), "val": list(val)}])


def named(case_id: str) -> Callable[[Path], Any]:
    """Rename case a to an odd name, in files and sidecar."""

    def rename(dataset: Path) -> None:
        (dataset / "imagesTr" / "a_0000.nii.gz").rename(dataset / "imagesTr" / f"{case_id}_0000.nii.gz")
        (dataset / "labelsTr" / "a.nii.gz").rename(dataset / "labelsTr" / f"{case_id}.nii.gz")

    return rename


FAULTS = [
    Fault(13, "qform-sform", another_qform, "WARN", "qform-sform", "a_0000.nii.gz",
          ("they differ by 7; the sform was used",)),
    Fault(14, "8-bit", image(np.clip(scan(0), 0, 255).astype(np.uint8)), "WARN", "no-hounsfield", "a_0000.nii.gz",
          ("expected Hounsfield units, got uint8 voxels of 0 to 70",)),
    Fault(14, "offset", image(scan(0) + 1024), "WARN", "no-hounsfield", "a_0000.nii.gz",
          ("expected Hounsfield units, got 24 to 1094, without a value below 0", "subtracting 1024")),
    Fault(15, "shape", mask(lesion_mask()[:-1]), "ERROR", "shape-differs", "labelsTr/a.nii.gz",
          ("expected the shape (z, y, x) (4, 6, 8)", "got (3, 6, 8)")),
    Fault(16, "shifted", mask(lesion_mask(), affine=shifted(0.01)), "ERROR", "geometry-differs", "labelsTr/a.nii.gz",
          ("within 0.001 mm, got corners 0.01 mm apart",)),
    Fault(16, "flipped direction", mask(lesion_mask(), affine=AFFINE @ np.diag([-1, 1, 1, 1])), "ERROR",
          "geometry-differs", "labelsTr/a.nii.gz", ("got corners",)),
    Fault(16, "within the tolerance", mask(lesion_mask(), affine=shifted(0.0005)), "VALID"),
    Fault(17, "flipped array", large_lesion(mirrored=True), "WARN", "mirrored-mask", "labelsTr/a.nii.gz",
          ("expected fresh blood under the mask, got 0%", "100% under the mirrored mask")),
    Fault(17, "as it should be", large_lesion(mirrored=False), "VALID"),
    Fault(18, "unknown value", mask(lesion_mask(4)), "ERROR", "unknown-mask-value", "labelsTr/a.nii.gz",
          ("expected the values [0, 1], got 4 (8 voxels)",)),
    Fault(18, "0.9999", mask(lesion_mask() * np.float32(0.9999)), "ERROR", "non-integer-mask", "labelsTr/a.nii.gz",
          ("8 voxels beside one, such as 0.9999, of which nnU-Net cuts the decimals off", "which rounds them")),
    Fault(18, "0.9", mask(lesion_mask() * np.float32(0.9)), "ERROR", "non-integer-mask", "labelsTr/a.nii.gz",
          ("expected integers, got 0.9 at (z, y, x) = (1, 2, 1)",)),
    Fault(19, "class without mask", declare_ich("yes", voxels=False), "WARN", "class-without-mask",
          "cases/a/labels/ich", ("expected voxels of the mask labels 1 (present_if_label of yes), got none",)),
    Fault(19, "mask without class", declare_ich("no", voxels=True), "WARN", "mask-without-class",
          "cases/a/labels/ich", ("expected no voxel of the mask labels 1 (present_if_label of yes), got 8",)),
    Fault(20, "fills the array", mask(np.ones(SHAPE_ZYX, np.uint8)), "VALID"),
    Fault(20, "on the edge", mask(np.eye(1, 192, dtype=np.uint8).reshape(SHAPE_ZYX)), "VALID"),
    Fault(21, "empty", mask(np.zeros(SHAPE_ZYX, np.uint8)), "VALID"),
    Fault(22, "one voxel", mask(np.eye(1, 192, 92, dtype=np.uint8).reshape(SHAPE_ZYX)), "VALID"),
    Fault(24, "entry without image", sidecar(lambda d: d["cases"].update(q={"labels": {}})), "ERROR", "missing-image",
          "cases/q", ("expected an image in imagesTr or imagesTs, found none",)),
    Fault(24, "image without entry", sidecar(lambda d: d["cases"].pop("a")), "ERROR", "case-without-entry", "cases/a",
          ("expected an entry for every training case", '{"labels": {}} where they are not known')),
    Fault(24, "unknown on purpose", sidecar(lambda d: d["cases"]["a"].update(labels={})), "WARN", "unknown-labels",
          "targets/subtype", ("1 of 4 training cases have no known class",)),
    Fault(25, "class out of range", sidecar(lambda d: d["cases"]["a"]["labels"].update(subtype="SDH")), "ERROR",
          "unknown-class", "cases/a/labels/subtype", ("expected classes among 'IPH', 'IVH', got 'SDH'",)),
    Fault(25, "number", sidecar(lambda d: d["cases"]["a"]["labels"].update(subtype=1.0)), "ERROR", "bad-document",
          "cases/a/labels/subtype", ("1.0 is not of type 'string'",)),
    Fault(25, "trailing blank", sidecar(lambda d: d["cases"]["a"]["labels"].update(subtype="IPH ")), "ERROR",
          "unknown-class", "cases/a/labels/subtype", ("'IPH ': did you mean 'IPH'?",)),
    Fault(26, "one class", sidecar(lambda d: [c["labels"].update(subtype="IPH") for c in d["cases"].values()]), "ERROR",
          "one-class", "targets/subtype", ("expected training cases of every class", "add training cases for IVH")),
    Fault(26, "a fold without", folds("ac", "bd"), "ERROR", "class-without-training", "fold 0: targets/subtype",
          ("expected training cases with and without IVH", "training is refused")),
    Fault(27, "patient in training and test",
          sidecar(lambda d: [d["cases"][case].update(group="P7") for case in "ae"]), "WARN", "group-in-both-parts",
          "class_labels.json", ("expected the cases of group P7 on one side, a, e are training and test cases",)),
    Fault(27, "patient in training and validation",
          both(sidecar(lambda d: [d["cases"][case].update(group="P7") for case in "ac"]), folds("ab", "cd")), "ERROR",
          "leaking-group", "fold 0", ("expected every patient on one side, got P7 in training and validation",)),
    Fault(27, "image in training and test", lambda d: save(d / "imagesTr" / "a_0000.nii.gz", scan(4)), "WARN",
          "image-in-both-parts", "a_0000.nii.gz", ("expected every image once, got the same file as a, e",)),
    Fault(27, "image in training and validation",
          both(lambda d: save(d / "imagesTr" / "a_0000.nii.gz", scan(2).astype(np.float32)), folds("ab", "cd")),
          "ERROR", "leaking-image", "fold 0", ("got a in training and c in validation",)),
    *(Fault(28, f"file {name[:12]!r}", named(name), "ERROR", "unsafe-case-id", f"{name}_0000.nii.gz",
            ("expected at most 200 letters, digits and the signs _ . + -", "rename the case and its files"))
      for name in ("a b", "<script>", "=cmd()", "x" * 230)),
    *(Fault(28, f"sidecar {name[:12]!r}", sidecar(lambda d, name=name: d["cases"].update({name: {"labels": {}}})),
            "ERROR", "unsafe-case-id", name[:80], ("expected at most 200 letters",))
      for name in ("../a", "a/b", "a\0b", "a b", "<script>", "=cmd()", "x" * 255)),
]  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    return make_dataset(tmp_path)


def verify(dataset: Path) -> tuple[list[Any], list[Any]]:
    splits = dataset.parent / "splits_final.json"
    result = verify_dataset(dataset, splits_file=splits if splits.exists() else None, num_workers=1, progress=False)
    return result.errors, result.warnings


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_faults(dataset: Path, fault: Fault) -> None:
    fault.damage(dataset)
    errors, warnings = verify(dataset)
    if fault.severity == "VALID":
        assert (errors, warnings) == ([], [])
        return
    found = [error for error in (errors if fault.severity == "ERROR" else warnings) if error.code == fault.code]
    (answer,) = (error for error in found if error.where.endswith(fault.where))
    for text in fault.texts:
        assert text in f"{answer.fault} -> {answer.remedy}"
    if fault.severity == "WARN":
        assert errors == []


# a missing file has no case: its partner is without it (24)
FILES = [bad for bad in BAD_FILES if bad.code != "missing-file"]


@pytest.mark.parametrize("bad", FILES, ids=str)
@pytest.mark.parametrize("folder", ["imagesTr", "labelsTr", "imagesTs"])
def test_files(tmp_path: Path, bad: BadFile, folder: str) -> None:
    """1 to 12: the file is named with its fault, whatever it is, and all other cases are still looked at."""
    dataset = make_dataset(tmp_path, bad.ending)
    case = "e" if folder == "imagesTs" else "a"
    path = dataset / folder / f"{case}{'' if folder == 'labelsTr' else '_0000'}{bad.ending}"
    path.unlink()
    bad.write(path)
    save(dataset / "labelsTr" / f"d{bad.ending}", lesion_mask(4))
    errors, _ = verify(dataset)
    by_place = {error.where: error for error in errors}
    assert set(by_place) == {str(path), str(dataset / "labelsTr" / f"d{bad.ending}")}
    assert by_place[str(path)].code == bad.code
    assert MESSAGES[bad.name] in by_place[str(path)].fault
    assert by_place[str(path)].remedy


def test_every_number_is_there() -> None:
    table = {23, 24, 25}  # in test_bad_tables
    assert {fault.number for fault in FAULTS} | {bad.number for bad in FILES} | table == set(range(1, 29))
    assert {bad.name for bad in FILES} == set(MESSAGES)


@pytest.mark.parametrize(
    ("name", "status", "line"),
    [
        ("1", 1, "ERROR [damaged-gzip] "),
        ("12", 1, "ERROR [sheared-affine] "),
        ("14", 0, "WARN [no-hounsfield] "),
        ("28", 1, "ERROR [unsafe-case-id] "),
        ("sound", 0, None),
    ],
)
def test_exit_status(dataset: Path, name: str, status: int, line: str | None, capsys: pytest.CaptureFixture) -> None:
    damages = {
        "1": lambda: (dataset / "imagesTr" / "a_0000.nii.gz").write_bytes(b"\x1f\x8bno"),
        "12": lambda: save(dataset / "imagesTr" / "a_0000.nii.gz", scan(0), sheared()),
        "14": lambda: save(dataset / "imagesTr" / "a_0000.nii.gz", scan(0) + 1024),
        "28": lambda: change(dataset / "class_labels.json", lambda d: d["cases"].update({"../x": {"labels": {}}})),
        "sound": lambda: None,
    }
    damages[name]()
    assert main(["verify", "1", "--num-workers", "1"]) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    answers = [text for text in captured.err.splitlines() if text.startswith(("ERROR", "WARN"))]
    assert [text.startswith(line or "") and " -> " in text for text in answers] == ([True] if line else [])
