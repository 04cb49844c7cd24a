"""``nnunet-multitask convert``, ``verify`` and ``split``, one after the other on a synthetic cohort."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_multitask.cli.main import main


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("convert") / "cohort"
    sizes = ["--train", "5", "--val", "1", "--test", "2"]
    assert main(["convert", "phantom", "--output", str(path), *sizes]) == 0
    return path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def test_the_path_from_source_to_folds(cohort: Path, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "hemseg200", "--input", str(cohort), "--dataset-id", "200", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["counts"] == {"training": 6, "test": 2, "label_only": 0, "repaired": 0, "excluded": 0}
    assert summary["dataset"] == str(folders / "nnUNet_raw" / "Dataset200_HemSeg200")

    assert main(["verify", "200", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["classes"] == {"subtype": {"IPH": 3, "IVH": 3, "unknown": 0}}

    assert main(["split", "200", "--folds", "3"]) == 0
    assert "fold 0 val   2 cases; subtype: 1 IPH, 1 IVH" in capsys.readouterr().out
    splits = json.loads((folders / "nnUNet_preprocessed" / "Dataset200_HemSeg200" / "splits_final.json").read_text())
    assert [len(fold["val"]) for fold in splits] == [2, 2, 2]


def test_summary_shows_targets_and_warnings(cohort: Path, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = "case,kind\n" + "".join(
        f"{path.name},{kind}\n"
        for path, kind in zip(sorted((cohort / "train" / "image").iterdir()), ("x", "x", "y", "Y", "na"), strict=True)
    )
    source = folders / "source"
    source.mkdir()
    (source / "classes.csv").write_text(table)
    (source / "images").symlink_to(cohort / "train" / "image")
    (source / "labels").symlink_to(cohort / "train" / "label")
    named = ["--dataset-id", "3", "--dataset-name", "Own", "--class-columns", "kind"]
    assert main(["convert", "folder", "--input", str(source), *named]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "kind (training): 1 Y, 2 x, 1 y, 1 unknown" in lines
    warning = "WARN the classes 'Y' and 'y' of the column kind differ only by upper and lower case or blanks"
    assert any(line.startswith(warning) for line in lines)


def test_refused_input_is_one_line(cohort: Path, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "hemseg200", "--input", str(folders), "--dataset-id", "200"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ERROR [unknown-layout]")
    assert captured.err.count("\n") == 1


def test_unset_variable(cohort: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert main(["convert", "hemseg200", "--input", str(cohort), "--dataset-id", "200"]) == 1
    assert "ERROR [unset-variable] environment variable nnUNet_raw" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["convert"], ["convert", "unknown"], ["convert", "hemseg200", "--input", "x"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_debug_shows_the_traceback(folders: Path) -> None:
    from nnunet_multitask.errors import InputError

    with pytest.raises(InputError, match="unknown-layout"):
        main(["convert", "hemseg200", "--debug", "--input", str(folders), "--dataset-id", "200"])
