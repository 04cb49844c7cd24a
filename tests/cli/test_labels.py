"""``nnunet-multitask labels``: import, export and show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from raw_datasets import make_dataset

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import read_json
from nnunet_multitask.labels import read_sidecar

TABLE = "case,grade\na,low\nb,high\nc,high\nd,low\n"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    (tmp_path / "table.csv").write_text(TABLE)
    return make_dataset(tmp_path)


def test_import_adds_a_target(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = str(tmp_path / "table.csv")
    before = read_json(dataset / "class_labels.json")
    assert main(["labels", "import", table, "--dataset", "1", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Dataset001_Tiny: 6 cases of 6 patients",
        "subtype (multiclass): 3 IPH, 3 IVH",
        "grade (multiclass): 2 high, 2 low, 2 unknown",
        "added: grade; replaced: none",
        f"not written: {dataset / 'class_labels.json'}",
    ]
    assert read_json(dataset / "class_labels.json") == before
    assert main(["labels", "import", table, "--dataset", "1", "--binary", "grade=low,high", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["added"] == ["grade"]
    assert summary["targets"]["grade"] == {"type": "binary", "classes": {"low": 2, "high": 2, "unknown": 2}}
    written = read_sidecar(dataset / "class_labels.json")
    assert written.cases["b"].labels == {"subtype": "IVH", "grade": "high"}
    assert written.cases["b"].group == "P1"


def test_import_refuses_in_one_line_each(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_text(TABLE.replace("d,low", "q,low"))
    before = (dataset / "class_labels.json").read_bytes()
    assert main(["labels", "import", str(tmp_path / "table.csv"), "--dataset", "1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("]")[0] for line in lines] == ["ERROR [missing-image", "ERROR [missing-row"]
    assert (dataset / "class_labels.json").read_bytes() == before


def test_export_and_back(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "labels.csv"
    assert main(["labels", "export", str(table), "--dataset", "1"]) == 0
    assert capsys.readouterr().out == f"6 cases: {table}\n"
    assert table.read_text().splitlines()[:2] == ["case_id,group,subtype", "a,P0,IPH"]
    assert main(["labels", "export", str(table), "--dataset", "1"]) == 1
    assert "ERROR [already-exists]" in capsys.readouterr().err
    table.write_text(table.read_text().replace("a,P0,IPH", "a,P0,IVH"))
    assert main(["labels", "import", str(table), "--dataset", "1"]) == 1
    assert "use --overwrite to replace the labels" in capsys.readouterr().err
    assert main(["labels", "import", str(table), "--dataset", "1", "--overwrite"]) == 0
    assert read_sidecar(dataset / "class_labels.json").cases["a"].labels == {"subtype": "IVH"}
    assert main(["labels", "export", str(tmp_path / "none" / "l.csv"), "--dataset", "1"]) == 1
    assert "ERROR [missing-folder]" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert main(["labels", "export", str(tmp_path / "labels.xlsx"), "--dataset", "1"]) == 1
    assert "ERROR [unknown-ending]" in capsys.readouterr().err


def test_show(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", "show", "--dataset", "Dataset001_Tiny"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Dataset001_Tiny: 6 cases of 6 patients",
        "subtype (multiclass): 3 IPH, 3 IVH",
    ]
    (dataset / "class_labels.json").unlink()
    assert main(["labels", "show", "--dataset", "1"]) == 1
    assert "ERROR [missing-sidecar]" in capsys.readouterr().err


def test_a_row_for_each_slice(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{case},{z},{int(z == 3 and case in 'ab')}" for case in "abcd" for z in range(1, 5)]
    table = tmp_path / "slices.tsv"
    table.write_text("\n".join(["case,z,ich", *rows]).replace(",", "\t"))
    command = ["labels", "import", str(table), "--dataset", "1", "--first-slice", "1"]
    assert main(command) == 1
    assert "ERROR [contradiction] --first-slice: expected --slice-column beside it" in capsys.readouterr().err
    assert main([*command, "--slice-column", "z"]) == 0
    written = read_sidecar(dataset / "class_labels.json")
    assert written.cases["a"].labels == {"subtype": "IPH", "ich": "1"}
    assert written.cases["a"].slices == {"ich": ("0", "0", "1", "0")}
    assert written.cases["c"].labels["ich"] == "0"
    assert main(["labels", "export", str(tmp_path / "out.csv"), "--dataset", "1", "--slices"]) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[:4] == ["case_id,slice,ich", "a,0,0", "a,1,0", "a,2,1"]
