"""Whether the decisions of a classification.json are those that its probabilities and thresholds mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.predictions import THRESHOLD, Classification, Prediction
from nnunet_multitask.targets import Target

ROUNDING = 2e-6  # probabilities are written with six digits: nearer to a threshold than this, either decision is right
SHOWN = 5


def decision_mismatches(predicted: Classification, case_ids: Sequence[str]) -> Iterator[InputError]:
    """Yield one warning for each target with decisions that contradict their probabilities.

    Args:
        predicted: probabilities, decisions and, where the file names them, thresholds.
        case_ids: the cases that are scored; others are not looked at.
    """
    for name, target in predicted.targets.items():
        entries = {case_id: predicted.cases[case_id][name] for case_id in case_ids if _has(predicted, case_id, name)}
        wrong = [case_id for case_id, prediction in entries.items() if contradicts(target, prediction)]
        if wrong:
            shown = ", ".join(wrong[:SHOWN]) + (", ..." if len(wrong) > SHOWN else "")
            yield InputError(
                "decision-mismatch",
                f"{predicted.path}: target {name}",
                "expected the decisions that probabilities and thresholds mean (without a threshold the most probable "
                f"class), got others in {len(wrong)} of {len(entries)} cases: {shown}",
                "correct the decisions, or write the threshold they were made with: both are scored as they are",
            )


def contradicts(target: Target, prediction: Prediction) -> bool:
    """Return whether a decision is another than its probabilities mean; see `predictions.decide`."""
    limits, p, decision = prediction.thresholds or {}, prediction.probabilities, prediction.decision
    if target.type == "multilabel":
        asked = [(name, name in decision) for name in target.classes]
    elif len(target.classes) == 2 and limits:
        positive = target.classes[1] if target.classes[1] in limits else target.classes[0]
        asked = [(positive, decision == positive)]
    else:
        return p[str(decision)] < max(p.values()) - ROUNDING
    margins = [(p[name] - limits.get(name, THRESHOLD), called) for name, called in asked]
    return any(abs(margin) > ROUNDING and (margin > 0) != called for margin, called in margins)


def _has(predicted: Classification, case_id: str, name: str) -> bool:
    return name in predicted.cases.get(case_id, {})
