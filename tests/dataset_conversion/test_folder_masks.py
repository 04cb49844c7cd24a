"""The generic converter: cases without a mask, and classes that the masks tell."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from folder_source import faults, make, run, save

from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Case, read_sidecar


def test_cases_of_which_only_the_class_is_known(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c,split\na,x,\nb,y,\nc,x,test\nd,x,\n", cases="abcd")
    for case in "bc":
        (source / "labels" / f"{case}.nii.gz").unlink()
    assert faults(source) == ["missing-mask", "missing-mask"]
    folder = run(source, allow_label_only=True)
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "label_1": 1, "label_2": 2, "ignore": 3}
    assert np.unique(nibabel.load(folder / "labelsTr" / "b.nii.gz").dataobj).tolist() == [3]
    assert sorted(path.name for path in folder.glob("labels*/*")) == ["a.nii.gz", "b.nii.gz", "d.nii.gz"]
    assert read_json(folder / "conversion_report.json")["counts"]["label_only"] == 1


def test_classes_from_masks(tmp_path: Path) -> None:
    source = make(tmp_path, "", cases="abc")
    (source / "classes.csv").unlink()
    save(source / "labels" / "b.nii.gz", values=1)
    save(source / "labels" / "c.nii.gz", values=0)
    with pytest.raises(InputError, match=r"found none -> name the table .* by --table, or .* by --classes-from-masks"):
        run(source)
    folder = run(source, classes_from_masks="findings", label_names=["EDH", "IPH"])
    sidecar = read_sidecar(folder / "class_labels.json")
    target = sidecar.targets["findings"]
    assert (target.type, target.classes) == ("multilabel", ("EDH", "IPH"))
    assert target.present_if_label == {"EDH": (1,), "IPH": (2,)}
    assert [case.labels["findings"] for case in sidecar.cases.values()] == [("EDH", "IPH"), ("EDH",), ()]
    classes = read_json(folder / "conversion_report.json")["classes"]["training"]
    assert classes == {"findings": {"EDH": 2, "IPH": 1, "unknown": 0}}


def test_classes_from_masks_beside_those_of_a_table(tmp_path: Path) -> None:
    source = make(tmp_path, "case,patient\na,p\nb,q\nc,q\n")
    for case, values in (("a", 0), ("b", 1), ("c", 1)):
        save(source / "labels" / f"{case}.nii.gz", values)
    folder = run(source, classes_from_masks="blood", label_names=["bleeding"])
    sidecar = read_sidecar(folder / "class_labels.json")
    assert (sidecar.targets["blood"].type, sidecar.targets["blood"].classes) == ("binary", ("no bleeding", "bleeding"))
    assert sidecar.cases["a"] == Case({"blood": "no bleeding"}, "p")
    assert sidecar.cases["c"] == Case({"blood": "bleeding"}, "q")
    (source / "classes.csv").write_text("case,blood\na,x\nb,y\nc,x\n")
    with pytest.raises(InputError, match=r"\[duplicate-target\] --classes-from-masks: expected a new name, blood is"):
        run(source, classes_from_masks="blood", label_names=["bleeding"], overwrite=True)


def test_ignored_voxels_leave_the_class_unknown(tmp_path: Path) -> None:
    source = make(tmp_path, "", cases="ab")
    (source / "classes.csv").unlink()
    save(source / "labels" / "b.nii.gz", values=1)
    labels = {"background": 0, "EDH": 1, "ignore": 2}
    for kind in ("images", "labels"):
        (source / kind).rename(source / f"{kind}Tr")
    write_json(source / "dataset.json", {"labels": labels, "channel_names": {"0": "MR"}})
    folder = run(source, classes_from_masks="found", channel_names=None)
    cases = read_sidecar(folder / "class_labels.json").cases
    assert [case.labels for case in cases.values()] == [{}, {"found": "EDH"}]
    assert read_json(folder / "conversion_report.json")["warnings"] == [
        "a: its mask holds the ignore label; its label of found is unknown"
    ]
