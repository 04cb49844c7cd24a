"""``nnunet-multitask collect``: table, summary, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.evaluation.predictions import read_classification

TARGETS = {"kind": {"type": "multilabel", "classes": ["IVH", "SAH"]}}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of two folds, each with two cases, whose splits are known."""
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name / "Dataset007_Toy").mkdir(parents=True)
        monkeypatch.setenv(name, str(tmp_path / name))
    splits = [{"train": ["c", "d"], "val": ["a", "b"]}, {"train": ["a", "b"], "val": ["c", "d"]}]
    (tmp_path / "nnUNet_preprocessed" / "Dataset007_Toy" / "splits_final.json").write_text(json.dumps(splits))
    folder = tmp_path / "nnUNet_results" / "Dataset007_Toy" / "T__P__2d"
    for fold, split in enumerate(splits):
        cases = {}
        for case_id, (p, labels) in zip(split["val"], ((0.9, ["IVH", "SAH"]), (0.2, [])), strict=True):
            prediction = {"probabilities": {"IVH": p, "SAH": 1 - p}, "decision": ["IVH"] if p > 0.5 else ["SAH"]}
            cases[case_id] = {"targets": {"kind": prediction}, "fold": fold, "reference": {"kind": labels}}
            cases[case_id] |= {"group": "patient_1"} if case_id == "a" else {}
        path = folder / f"fold_{fold}" / "validation" / "classification.json"
        path.parent.mkdir(parents=True)
        about = {"trainer": "T", "plans": "P", "configuration": "2d", "folds": [fold]}
        path.write_text(json.dumps({"version": 1, "model": about, "targets": TARGETS, "cases": cases}))
    return folder


def test_the_table_stands_in_the_folder_of_the_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", "-d", "7", "-tr", "T", "-p", "P", "-c", "2d"]) == 0
    table = model / "classification_out_of_fold.json"
    out = capsys.readouterr().out
    assert out.startswith("4 cases of the folds 0, 1\nkind: n = 4, 0 without a label; AUC 0.500")  # 1 of IVH, 0 of SAH
    assert "accuracy 0.500  balanced accuracy 0.500\n  AUC by fold: 0 0.500, 1 0.500\n" in out
    assert out.endswith(f"written: {table}, classification_out_of_fold.csv\n")
    assert read_classification(table).folds == {"a": 0, "b": 0, "c": 1, "d": 1}
    with table.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["kind_reference"] == "IVH;SAH"
    assert [row["fold"] for row in rows] == ["0", "0", "1", "1"]
    assert [row["group"] for row in rows] == ["patient_1", "", "", ""]


def test_named_folds_and_output_as_json(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = model.parent / "some.json"
    assert main(["collect", "-m", str(model), "--folds", "1", "--output", str(output), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["output"], answer["cases"], answer["folds"]) == (str(output), 2, [1])
    assert answer["targets"]["kind"]["n"] == 2
    assert output.with_suffix(".csv").is_file()


def test_what_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(text: str, *options: str) -> None:
        assert main(["collect", *options]) == 1
        assert text in capsys.readouterr().err
        assert not (model / "classification_out_of_fold.json").exists()

    folder = ("-m", str(model))
    refused("ERROR [missing-model]")
    refused("ERROR [missing-folder]", "-m", str(model / "nowhere"))
    found = f"expected a trained model, found {model.name} -> correct -tr, -p or -c"
    refused(found, "-d", model.parent.name, "-c", "3d_lowres")
    refused("ERROR [not-out-of-fold] --folds all: expected folds of a cross-validation", *folder, "--folds", "all")
    refused("ERROR [bad-fold] --folds x", *folder, "--folds", "x")
    refused("ERROR [bad-output]", *folder, "--output", str(model.parent / "table.csv"))
    (model / "fold_0" / "validation" / "classification.json").unlink()
    refused("expected classification.json of the folds 0, 1, found none of 0 -> ", *folder)
