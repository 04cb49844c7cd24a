"""``nnunet-multitask compare`` from end to end on tiny images, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compared_folders import compare, write_folders

from nnunet_multitask.cli.compare import named_folders
from nnunet_multitask.errors import InputError


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path)


def test_report_tables_and_text(
    folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/nnunet-multitask", "compare", "--images", "images & masks"])
    assert compare(folders, "--images", str(folders / "imagesTs")) == 0
    out = capsys.readouterr().out
    assert "stock    0.750      2.00        baseline" in out
    assert "better   1.000      0.00          0.2500" in out
    assert f"report: {folders / 'out' / 'report.html'}" in out
    html = (folders / "out" / "report.html").read_text()
    assert "Grey values from the 1st to the 99th percentile" in html
    document = json.loads((folders / "out" / "comparison.json").read_text())
    assert document["command"] == "nnunet-multitask compare --images 'images & masks'"
    assert (folders / "out" / "cases.csv").read_text().count("\n") == 1 + 2 * 2 * 2


def test_json(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["baseline"] == "stock"
    assert answer["summary"]["better"]["segmentation"]["foreground"]["dsc"]["penalised"]["mean"] == 1.0
    assert answer["comparisons"]["better"]["foreground"]["dsc"]["wins"] == 2


def test_different_case_sets_leave_no_output(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "better" / "b.nii.gz").unlink()
    assert compare(folders) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"ERROR [different-case-sets] {folders / 'better'}: ")
    assert "1 are absent: b" in err
    assert not (folders / "out").exists()


def test_the_intersection_and_the_verdict_are_said(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "better" / "b.nii.gz").unlink()
    options = ["--intersection", "--primary-test", "permutation", "--non-inferiority-margin", "0.05"]
    assert compare(folders, *options) == 0
    out = capsys.readouterr().out
    assert "p (permutation)" in out
    assert "over the 1 cases that every model predicted: 1 others are left out" in out
    assert "better: DSC no verdict at a margin of 0.05 (fewer_than_10_units), lower bound of the difference n/a" in out
    document = json.loads((folders / "out" / "comparison.json").read_text())
    assert document["case_set"]["left_out"] == {"better": ["b"]}


def test_an_unknown_metric_is_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--family", "dice") == 1
    assert "ERROR [unknown-metric] family: expected different metrics among dsc, " in capsys.readouterr().err


def test_published_tables_stand_below(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--published", "xiao2025") == 0
    out = capsys.readouterr().out
    assert "yours: better          1.000" in out
    assert "! auc_of_hard_labels: printed as AUC, but of hard labels: it is balanced accuracy" in out
    document = json.loads((folders / "out" / "comparison.json").read_text())
    assert document["published"]["xiao2025"]["tables"][1]["yours"]["stock"]["dsc"] == 0.75
    assert compare(folders, "--published", "nobody") == 1
    assert "ERROR [unknown-paper]" in capsys.readouterr().err


def test_triage_needs_its_rates(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--triage", "blood", "--minutes-per-scan", "5") == 1
    assert "ERROR [missing-option]" in capsys.readouterr().err
    assert compare(folders, "--minutes-per-scan", "5") == 1
    assert "expected --triage, --arrivals-per-hour and --minutes-per-scan together" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        ("--geometry-tolerance-mm=-1", "expected 0 or more, got -1"),
        ("--num-workers=0", "expected 1 or more, got 0"),
        ("--arrivals-per-hour=0", "expected a number above 0, got 0"),
        ("--minutes-per-scan=-5", "expected a number above 0, got -5"),
    ],
)
def test_numbers_that_make_no_sense_exit_with_2(
    folders: Path, capsys: pytest.CaptureFixture[str], option: str, fault: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        compare(folders, option)
    assert caught.value.code == 2
    assert fault in capsys.readouterr().err


def test_a_margin_of_nothing_is_refused_before_anything_is_read(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "dataset.json").write_text("no JSON")
    assert compare(folders, "--non-inferiority-margin", "0") == 1
    assert "ERROR [bad-margin]" in capsys.readouterr().err


def test_models_of_another_data_set(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("stock", "better"):
        (folders / name / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "blood": 1}}))
    (folders / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "bleeding": 1, "oedema": 2}}))
    assert compare(folders, "--map-classes", "blood=bleeding") == 0
    out = capsys.readouterr().out
    assert "better   1.000" in out
    assert "no model knows the labels oedema: where the reference has them, they count as not found" in out
    document = json.loads((folders / "out" / "comparison.json").read_text())
    assert document["class_mapping"]["labels"] == {"blood": "bleeding"}
    assert document["models"]["better"]["folder"] == str(folders / "out" / "mapped_classes" / "better")


def test_two_models_of_one_name_are_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, baseline="x=", model="x=") == 1
    assert "ERROR [duplicate-model]" in capsys.readouterr().err


def test_names_come_from_the_argument_or_the_folder() -> None:
    assert named_folders("runs/base", ["ours=runs/a", "runs/b/"]) == (
        "base",
        {"base": Path("runs/base"), "ours": Path("runs/a"), "b": Path("runs/b")},
    )
    with pytest.raises(InputError, match=r"\[duplicate-model\] b/x: expected another name than x, .* --model NAME=b/x"):
        named_folders("a/x", ["b/x"])
