"""Temperature scaling finds the temperature that a simulation put in, and leaves the order of cases alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from nnunet_multitask.evaluation.temperature import HIGHEST, fit_temperature, scale_exclusive, scale_independent


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_of_two_classes_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, 20_000)
    truth = (rng.random(20_000) < special.expit(logits)).astype(int)
    said = special.expit(temperature * logits)  # too certain where the temperature is above 1
    found, reason = fit_temperature(truth, np.stack([1 - said, said], axis=1))
    assert found == pytest.approx(temperature, rel=0.05)
    assert reason is None
    np.testing.assert_allclose(scale_independent(said, temperature), special.expit(logits), atol=1e-3)


def test_a_known_temperature_of_several_classes_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.2, (20_000, 4))
    honest = special.softmax(logits, axis=1)
    truth = np.array([rng.choice(4, p=row) for row in honest])
    said = special.softmax(3 * logits, axis=1)
    found, reason = fit_temperature(truth, said)
    assert (found, reason) == (pytest.approx(3, rel=0.05), None)
    scaled = scale_exclusive(said, 3)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    assert np.array_equal(scaled.argmax(axis=1), logits.argmax(axis=1))


def test_scaling_by_hand() -> None:
    assert scale_independent(np.array([0.8]), 2.0)[0] == pytest.approx(2 / 3)  # odds 4 become 2
    both = scale_exclusive(np.array([[0.2, 0.8]]), 2.0)[0]
    assert both == pytest.approx([1 / 3, 2 / 3])
    assert scale_exclusive(np.array([[0.1, 0.2, 0.7]]), 1.0)[0] == pytest.approx([0.1, 0.2, 0.7])
    assert 0 < scale_independent(np.array([0.0]), 1.0)[0] < 1e-6


def test_what_has_no_temperature_says_why() -> None:
    p = np.array([0.1, 0.4, 0.6, 0.9])
    pair = np.stack([1 - p, p], axis=1)
    assert fit_temperature(np.array([0, 0, 1, 1]), pair) == (1.0, "separable")
    assert fit_temperature(np.array([1, 1, 0, 0]), pair) == (HIGHEST, "uninformative")
