"""``nnunet-multitask verify``: text, JSON and exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import write_json


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset without cases, hence without training cases of either class."""
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    folder = tmp_path / "Dataset003_None"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    document = {"channel_names": {"0": "CT"}, "labels": {"background": 0}, "numTraining": 0, "file_ending": ".nii.gz"}
    write_json(folder / "dataset.json", document)
    targets = {"t": {"type": "multiclass", "classes": ["x", "y"]}}
    write_json(folder / "class_labels.json", {"version": 1, "targets": targets, "cases": {"a": {"labels": {"t": "x"}}}})
    return folder


def test_text(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "3"]) == 1
    captured = capsys.readouterr()
    assert "ERROR [missing-image] " in captured.err
    assert "cases/a: expected an image in imagesTr or imagesTs, found none -> add or remove it" in captured.err
    assert "ERROR [one-class] " in captured.err
    assert "WARN [image-reader] " in captured.err
    assert captured.out.splitlines() == [
        "Dataset003_None: 0 training cases, 0 test cases",
        "t (training): 0 x, 0 y, 0 unknown",
        "2 errors, 1 warnings",
    ]


def test_json(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "Dataset003_None", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [error["code"] for error in document["errors"]] == ["missing-image", "one-class"]
    assert set(document["errors"][0]) == {"code", "where", "fault", "remedy"}


def test_unknown_dataset(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "4"]) == 1
    assert "expected the dataset 4, found Dataset003_None" in capsys.readouterr().err
