"""The headline table: value and difference of a row are of one metric over cases that the reader is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.cli._classes import describe_classes
from nnunet_multitask.cli._comparison_text import describe
from nnunet_multitask.evaluation.comparison import compare_folders
from nnunet_multitask.evaluation.headline import headline_rows
from nnunet_multitask.evaluation.report import render_report
from nnunet_multitask.labels import read_sidecar


def compare(cohort: Path) -> dict[str, Any]:
    return compare_folders(
        cohort / "labels",
        {"base": cohort / "baseline", "multi": cohort / "model"},
        "base",
        labels={"background": 0, "IPH": 1, "IVH": 2},
        sidecar=read_sidecar(cohort / "class_labels.json"),
    )


@pytest.fixture
def findings(cohort: Path) -> Path:
    """Three classes that any case may have: multi finds all, base one too many in one of three cases."""
    target = {"type": "multilabel", "classes": ["IPH", "IVH", "SDH"]}
    truth = {"c1": ["IPH"], "c2": ["IVH", "SDH"], "c3": ["IPH", "IVH"]}
    for folder, decisions in {"model": truth, "baseline": {**truth, "c1": ["IPH", "SDH"]}}.items():
        cases = {
            case_id: {
                "targets": {
                    "findings": {
                        "probabilities": {name: 0.9 if name in decision else 0.1 for name in target["classes"]},
                        "decision": decision,
                    }
                }
            }
            for case_id, decision in decisions.items()
        }
        document = {"version": 1, "targets": {"findings": target}, "cases": cases}
        (cohort / folder / "classification.json").write_text(json.dumps(document))
    labels = {case_id: {"labels": {"findings": found}, "group": case_id} for case_id, found in truth.items()}
    sidecar = {"version": 1, "targets": {"findings": target}, "cases": labels}
    (cohort / "class_labels.json").write_text(json.dumps(sidecar))
    return cohort


def test_the_accuracy_of_several_labels_is_that_of_all_classes_right(findings: Path) -> None:
    document = compare(findings)
    # the mean over the classes is 8 of 9 decisions; McNemar's test knows cases with every class right, 2 of 3
    assert document["models"]["base"]["classification"]["findings"]["accuracy"] == pytest.approx(8 / 9)
    rows = {row.model: row for row in headline_rows(document) if row.title.startswith("Subset accuracy")}
    assert (rows["base"].mean, rows["multi"].mean) == (pytest.approx(2 / 3), 1.0)
    assert rows["multi"].change is not None
    assert rows["multi"].change.difference == pytest.approx(1 / 3)
    assert rows["multi"].title == "Subset accuracy (all classes right)"
    assert "accuracy" not in {row.metric for row in headline_rows(document)}
    assert "findings subset accuracy (all classes right) 1.000 against 0.667" in describe(document)
    html = render_report(document)
    assert "Accuracy, mean over classes" in html
    assert "Subset accuracy (all classes right) (McNemar)" in html


def test_the_accuracy_of_exclusive_classes_keeps_its_name(cohort: Path) -> None:
    assert [row.title for row in headline_rows(compare(cohort)) if row.part == "classification"] == ["AUC", "Accuracy"]


def test_the_console_says_of_what_its_dsc_is_and_why_there_is_no_p(findings: Path) -> None:
    sidecar = json.loads((findings / "class_labels.json").read_text())
    for case_id in ("c1", "c2"):
        sidecar["cases"][case_id]["group"] = "p1"
    (findings / "class_labels.json").write_text(json.dumps(sidecar))
    document = compare(findings)
    text = describe(document)
    assert "DSC and HD95: all labels together\n" in text
    assert "difference 0.000, p (DeLong) n/a (several cases of a patient)" in text
    assert "p (McNemar) n/a (several cases of a patient)" in text
    model = {"calibration": None, **document["models"]["multi"]}
    assert "  head minus mask, IPH: p (DeLong) n/a (several cases of a patient)" in "\n".join(describe_classes(model))
