"""``nnunet-multitask compare`` of trained models, out of fold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compared_folders import write_folders

from nnunet_multitask.cli.main import main


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path)


@pytest.fixture
def trained(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same two cases as a dataset whose folds 0 and 1 two trainers have predicted."""
    raw, results = (folders / name / "Dataset007_X" for name in ("nnUNet_raw", "nnUNet_results"))
    raw.mkdir(parents=True)
    (folders / "labelsTs").rename(raw / "labelsTr")
    (folders / "dataset.json").rename(raw / "dataset.json")
    for trainer in ("stock", "better"):
        for fold, case_id in enumerate(("a", "b")):
            place = results / f"{trainer}__p__2d" / f"fold_{fold}" / "validation"
            place.mkdir(parents=True)
            (folders / trainer / f"{case_id}.nii.gz").rename(place / f"{case_id}.nii.gz")
    for name in ("nnUNet_raw", "nnUNet_results"):
        monkeypatch.setenv(name, str(folders / name))
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    return folders


def compare_trained(trained: Path, *options: str) -> int:
    models = ("--trained", "stock__p__2d", "--trained", "ours=better__p__2d")
    return main(["compare", *models, "--output", str(trained / "out"), "--num-workers", "1", *options])


def test_trained_models_are_compared_out_of_fold(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_trained(trained, "--dataset", "7", "--folds", "0", "1") == 0
    assert "ours           1.000" in capsys.readouterr().out
    document = json.loads((trained / "out" / "comparison.json").read_text())
    assert document["baseline"] == "stock__p__2d"
    assert list(document["geometry"]) == ["a", "b"]
    assert document["models"]["ours"]["model"]["trainer"] == "better"
    assert sorted(path.name for path in (trained / "out" / "out_of_fold" / "ours").iterdir()) == [
        "a.nii.gz",
        "b.nii.gz",
    ]


def test_trained_models_over_one_fold(trained: Path) -> None:
    assert compare_trained(trained, "--dataset", "7", "--folds", "1") == 0
    document = json.loads((trained / "out" / "comparison.json").read_text())
    assert list(document["geometry"]) == ["b"]


def test_the_splits_say_which_folds_and_cases_there_are(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained / "nnUNet_preprocessed" / "Dataset007_X" / "splits_final.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]))
    monkeypatch.setenv("nnUNet_preprocessed", str(trained / "nnUNet_preprocessed"))
    assert compare_trained(trained, "--dataset", "7") == 0
    document = json.loads((trained / "out" / "comparison.json").read_text())
    assert document["models"]["ours"]["model"]["folds"] == [0, 1]
    path.write_text(json.dumps([{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]))
    capsys.readouterr()
    assert compare_trained(trained, "--dataset", "7") == 1
    assert "ERROR [not-out-of-fold]" in capsys.readouterr().err


def test_trained_models_need_a_dataset_and_their_folds(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_trained(trained) == 1
    assert "expected --trained and --dataset together, got only --trained" in capsys.readouterr().err
    assert compare_trained(trained, "--dataset", "7") == 1
    assert "found none of 2, 3, 4 -> train these folds, or compare over those" in capsys.readouterr().err
    assert compare_trained(trained, "--dataset", "7", "--folds", "1", "--trained", "../x=stock__p__2d") == 1
    assert "ERROR [bad-model-name] ../x=stock__p__2d: expected a name without /" in capsys.readouterr().err
    assert not (trained / "out").exists()
