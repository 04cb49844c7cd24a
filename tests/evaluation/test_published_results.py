"""Published tables: complete, consistent with what they say of themselves, beside the right numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.comparison import compare_folders
from nnunet_multitask.evaluation.published_results import beside_published, published_names, read_published
from nnunet_multitask.labels import read_sidecar

LABELS = {"background": 0, "IPH": 1, "IVH": 2}


def test_four_papers_ship() -> None:
    assert published_names() == ["ahmed2025", "chokshi2025", "hoseyni2024", "xiao2025"]


@pytest.mark.parametrize("name", published_names())
def test_every_value_belongs_to_a_metric_and_every_paper_is_read_with_care(name: str) -> None:
    document = read_published(name)
    assert document["source"]
    assert document["read_with_care"]
    for table in document["tables"]:
        systems = [row["system"] for row in table["rows"]]
        assert len(set(systems)) == len(systems)
        for row in table["rows"]:
            assert row["values"]
            assert row["values"].keys() <= table["metrics"].keys()


def test_the_auc_of_xiao_is_the_mean_of_recall_and_specificity() -> None:
    for row in read_published("xiao2025")["tables"][0]["rows"]:
        values = row["values"]
        assert values["auc_of_hard_labels"] == pytest.approx((values["recall"] + values["specificity"]) / 2, abs=6e-4)


def test_means_of_ahmed_are_those_of_the_kinds() -> None:
    values = read_published("ahmed2025")["tables"][0]["rows"][0]["values"]
    for name in ("dice", "iou"):
        mean = sum(values[f"{name} {kind}"] for kind in ("IVH", "IPH", "SAH", "SDH", "EDH")) / 5
        assert values[f"{name} mean"] == pytest.approx(mean, abs=6e-3)


def test_yours_stand_beside(cohort: Path) -> None:
    comparison = compare_folders(
        cohort / "labels",
        {"base": cohort / "baseline", "multi": cohort / "model"},
        "base",
        labels=LABELS,
        sidecar=read_sidecar(cohort / "class_labels.json"),
    )
    classes, masks = beside_published("xiao2025", comparison)["tables"]
    score = comparison["models"]["multi"]["classification"]["subtype"]
    assert classes["yours"]["multi"]["auc_of_hard_labels"] == score["balanced_accuracy"] == 0.75
    assert classes["yours"]["multi"]["auc"] == score["auc"] == 1.0
    assert set(classes["yours"]["base"].values()) == {None}
    assert any("balanced accuracy, and yours stands beside it" in warning for warning in classes["warnings"])
    summary = comparison["models"]["base"]["segmentation"]["summary"]["foreground"]
    assert masks["yours"]["base"]["hd_mm"] == summary["hd"]["penalised"]["mean"]
    assert masks["yours"]["base"]["dsc_std"] == summary["dsc"]["penalised"]["std"] > 0
    assert masks["yours"]["base"]["hd_std_mm"] == summary["hd"]["penalised"]["std"]
    assert masks["yours"]["base"]["better_dsc_percent"] is None
    assert masks["yours"]["multi"]["better_dsc_percent"] == masks["yours"]["multi"]["better_hd_percent"] == 100
    assert "yours are the 3 of" in masks["warnings"][0]
    kinds, _, classes = beside_published("ahmed2025", comparison)["tables"]
    slices = comparison["models"]["base"]["segmentation"]["summary"]["IPH"]["slices"]
    assert kinds["yours"]["base"]["dice IPH"] == slices["dsc"] < 1
    assert kinds["yours"]["multi"]["dice SAH"] is kinds["yours"]["base"]["iou IPH"] is None
    assert "yours n/a: of slices there is DSC alone; means of scans do not mean the same" in kinds["warnings"]
    assert set(classes["yours"]["multi"].values()) == {None}
    for table in beside_published("hoseyni2024", comparison)["tables"]:  # IPH against IVH is no "any hemorrhage"
        assert set(table["yours"]["multi"].values()) == {None}
        assert "yours n/a: the table asks for a binary target, which no model has" in table["warnings"]


def test_slices_and_patients_stand_beside_their_own_level_alone(whole_comparison: str) -> None:
    comparison = json.loads(whole_comparison)
    score = comparison["models"]["multi"]["classification"]["finding"]
    slices, patients = beside_published("hoseyni2024", comparison)["tables"]
    assert slices["yours"]["multi"]["f1"] == score["levels"]["slice"]["f1"]
    assert patients["yours"]["multi"]["f1"] == score["levels"]["patient_any_slice"]["f1"]
    score["levels"].clear()
    slices = beside_published("hoseyni2024", comparison)["tables"][0]
    assert set(slices["yours"]["multi"].values()) == {None}
    assert any(
        "published of the level slice, and target finding is scored of scans alone" in w for w in slices["warnings"]
    )


def test_an_unknown_paper_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[unknown-paper\] .*expected one of ahmed2025, .*, got ../xiao2025"):
        read_published("../xiao2025")
