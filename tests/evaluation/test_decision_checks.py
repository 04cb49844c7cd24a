"""Decisions that contradict their probabilities are named once for each target, with the first cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.evaluation.class_evaluation import ClassOptions
from nnunet_multitask.evaluation.decision_checks import contradicts
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.evaluation.predictions import Prediction
from nnunet_multitask.labels import read_sidecar
from nnunet_multitask.targets import Target

BINARY = Target(name="t", type="binary", classes=("no", "yes"))
SEVERAL = Target(name="t", type="multilabel", classes=("a", "b", "c"))
ONE_OF = Target(name="t", type="multiclass", classes=("a", "b", "c"))


@pytest.mark.parametrize(
    ("target", "p", "thresholds", "decision", "wrong"),
    [
        (BINARY, (0.4, 0.6), None, "no", True),
        (BINARY, (0.4, 0.6), None, "yes", False),
        (BINARY, (0.5, 0.5), None, "no", False),  # equally probable
        (BINARY, (0.4, 0.6), {"yes": 0.7}, "no", False),
        (BINARY, (0.4, 0.6), {"yes": 0.7}, "yes", True),
        (BINARY, (0.3, 0.7), {"yes": 0.7000004}, "yes", False),  # written with six digits
        (BINARY, (0.4, 0.6), {"no": 0.3}, "yes", True),
        (ONE_OF, (0.3, 0.4, 0.3), None, "a", True),
        (ONE_OF, (0.3, 0.4, 0.3), None, "b", False),
        (SEVERAL, (0.6, 0.4, 0.5), None, ("a",), False),
        (SEVERAL, (0.6, 0.4, 0.1), None, ("a", "b"), True),
        (SEVERAL, (0.6, 0.4, 0.1), {"b": 0.3}, ("a", "b"), False),
    ],
)
def test_what_contradicts(
    target: Target, p: tuple[float, ...], thresholds: dict[str, float] | None, decision: Any, wrong: bool
) -> None:
    prediction = Prediction(dict(zip(target.classes, p, strict=True)), decision, thresholds)
    assert contradicts(target, prediction) is wrong


def decide_all(cohort: Path, decision: str, **extra: Any) -> None:
    path = cohort / "model" / "classification.json"
    document = json.loads(path.read_text())
    for entry in document["cases"].values():
        entry["targets"]["subtype"] |= {"decision": decision, **extra}
    path.write_text(json.dumps(document))


@pytest.fixture
def evaluate(cohort: Path) -> Callable[..., list[str]]:
    """Return a function that scores the model of the cohort and returns the warnings."""

    def scored(**options: Any) -> list[str]:
        document = evaluate_folders(
            cohort / "labels",
            cohort / "model",
            labels={"background": 0, "IPH": 1, "IVH": 2},
            sidecar=read_sidecar(cohort / "class_labels.json"),
            classes=ClassOptions(**options),
        )
        return [warning for warning in document["warnings"] if "decision" in warning]

    return scored


def test_one_warning_with_count_and_cases(
    cohort: Path, evaluate: Callable[..., list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    assert evaluate() == []
    decide_all(cohort, "IVH")  # of 0.9, 0.2 and 0.4
    (warning,) = evaluate()
    assert "[decision-mismatch]" in warning
    assert "got others in 2 of 3 cases: c2, c3" in warning
    assert caplog.text.count("WARN [decision-mismatch]") == 1
    decide_all(cohort, "IVH", threshold={"IVH": 0.3})
    (warning,) = evaluate()
    assert "got others in 1 of 3 cases: c2" in warning
