"""A cascade needs the masks of its previous stage: which cases must have one, and where."""

import json

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.training.preconditions import check_previous_stage

DATASET = "Dataset007_Toy"
PLANS = {
    "dataset_name": DATASET,
    "plans_name": "toy",
    "configurations": {
        "3d_fullres": {"data_identifier": "toy_3d_fullres", "architecture": {}},
        "3d_lowres": {"inherits_from": "3d_fullres", "next_stage": "3d_cascade_fullres"},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    },
}


class Mine:
    """A trainer of this name."""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Six preprocessed cases, and two folds over three of them; returns where the masks are looked for."""
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    data = tmp_path / "nnUNet_preprocessed" / DATASET / "toy_3d_fullres"
    data.mkdir(parents=True)
    for case in ("a", "b.1", "c", "d", "e", "f"):
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            (data / f"{case}{ending}").touch()
    splits = [{"train": ["a"], "val": ["b.1"]}, {"train": ["a"], "val": ["c"]}]
    (data.parent / "splits_final.json").write_text(json.dumps(splits))
    masks = tmp_path / "nnUNet_results" / DATASET / "Mine__toy__3d_lowres" / "predicted_next_stage"
    (tmp_path / "nnUNet_results").mkdir()
    return data.parent, masks / "3d_cascade_fullres"


def missing(fold):
    """Return the cases that the refusal names."""
    with pytest.raises(InputError, match=r"^\[missing-previous-stage\] .*predicted_next_stage") as caught:
        check_previous_stage(Mine, PLANS, "3d_cascade_fullres", fold)
    assert caught.value.fault.startswith("expected a prediction of 3d_lowres for every case, got none for ")
    return caught.value.fault.rpartition(" for ")[2]


def test_the_cases_of_the_fold_are_needed(folders):
    _, masks = folders
    assert missing(0) == "a, b.1"
    masks.mkdir(parents=True)
    (masks / "a.b2nd").touch()
    assert (missing(0), missing(1)) == ("b.1", "c")
    (masks / "b.1.b2nd").touch()
    check_previous_stage(Mine, PLANS, "3d_cascade_fullres", 0)
    assert missing(1) == "c"


def test_all_cases_are_needed_where_no_fold_names_them(folders):
    dataset, _ = folders
    assert missing("all") == missing(2) == "a, b.1, c, d, e and 1 more"
    (dataset / "splits_final.json").unlink()
    assert missing(0) == "a, b.1, c, d, e and 1 more"


@pytest.mark.parametrize("configuration", ["3d_fullres", "3d_lowres"])
def test_other_configurations_need_nothing(folders, configuration):
    check_previous_stage(Mine, PLANS, configuration, 0)
    assert not any(folders[1].parents[3].iterdir())
