"""Which p values are corrected together."""

from __future__ import annotations

from typing import Any

from nnunet_multitask.evaluation.families import correct, correct_metrics


def entry(p: float | None) -> dict[str, Any]:
    return {"primary": {"test": "wilcoxon", "p": p}}


def test_metrics_of_all_models_are_one_family_of_each_region() -> None:
    comparisons = {
        "a": {"IPH": {"dsc": entry(0.01), "hd": entry(0.04)}, "IVH": {"dsc": entry(0.01), "hd": entry(0.2)}},
        "b": {"IPH": {"dsc": entry(None), "hd": entry(0.03)}, "IVH": {"dsc": entry(0.5), "hd": entry(0.6)}},
    }
    correct_metrics(comparisons, ["dsc"])
    iph, ivh = comparisons["a"]["IPH"], comparisons["a"]["IVH"]
    assert iph["dsc"]["primary"]["p_holm"] == 0.01
    assert iph["dsc"]["primary"]["family"] == ["a: dsc"]
    assert ivh["dsc"]["primary"]["p_holm"] == 0.02
    assert ivh["dsc"]["primary"]["family"] == ["a: dsc", "b: dsc"]
    assert comparisons["b"]["IPH"]["dsc"]["primary"]["p_holm"] is None
    assert iph["hd"]["primary"] == {"test": "wilcoxon", "p": 0.04, "p_holm": None, "reason": "not_in_family"}


def test_nothing_to_correct() -> None:
    correct([])
    correct_metrics({}, ["dsc"])
