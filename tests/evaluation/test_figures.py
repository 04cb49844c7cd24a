"""Pictures: what their texts say, and that they are PNGs."""

from __future__ import annotations

from nnunet_multitask.evaluation.figures import reliability_plot


def test_reliability_curves_say_how_far_they_are_off() -> None:
    curve = {"probability": [0.1, 0.9], "share": [0.2, 0.6], "n": [30, 10]}
    picture = reliability_plot({"kind: IVH": {"before": curve, "after": {**curve, "share": [0.1, 0.9]}}})
    assert "kind: IVH, before: mean distance from the diagonal 0.150" in picture.alt
    assert "kind: IVH, after: mean distance from the diagonal 0.000" in picture.alt
    assert picture.png.startswith(b"\x89PNG")
