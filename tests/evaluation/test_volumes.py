"""Agreement of volumes: by hand, and against the published example."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnunet_multitask.evaluation.volumes import bland_altman, intraclass_correlation, volume_agreement

# Shrout and Fleiss 1979, table 2: six targets, four judges
RATINGS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_icc_of_the_published_example() -> None:
    found = intraclass_correlation(RATINGS)
    assert found["icc_2_1"] == pytest.approx(0.29, abs=0.005)
    assert found["icc_3_1"] == pytest.approx(0.71, abs=0.005)
    # as the R package psych gives them
    assert found["icc_2_1_interval"] == pytest.approx([0.019, 0.76], abs=0.002)
    assert found["icc_3_1_interval"] == pytest.approx([0.342, 0.946], abs=0.001)


def test_icc_by_hand() -> None:
    # scans (1, 3), (2, 2), (6, 4): means 2, 2, 5, raters' means 3, 3, grand mean 3
    # between scans 2 * (1 + 1 + 4) / 2 = 6, between raters 0, residuals (-1, 1, 0, 0, 1, -1): 4 / 2 = 2
    found = intraclass_correlation([[1, 3], [2, 2], [6, 4]])
    assert found["icc_3_1"] == pytest.approx((6 - 2) / (6 + 2))
    assert found["icc_2_1"] == pytest.approx((6 - 2) / (6 + 2 + 2 * (0 - 2) / 3))


def test_a_constant_bias_lowers_agreement_and_not_consistency() -> None:
    volumes = np.array([1.0, 4.0, 9.0, 20.0])
    shifted = volume_agreement(volumes, volumes + 2.0)
    assert shifted["icc_3_1"] == pytest.approx(1.0)
    assert shifted["icc_2_1"] < 0.99
    assert shifted["bias"] == 2.0
    assert volume_agreement(volumes, volumes)["icc_2_1"] == 1.0
    assert shifted["reasons"] == dict.fromkeys(("icc_2_1_interval", "icc_3_1_interval"), "no_residual")


def test_bland_altman_by_hand() -> None:
    found = bland_altman([10.0, 20.0, 30.0], [11.0, 20.0, 35.0])  # differences 1, 0, 5
    sd = math.sqrt((1 + 4 + 9) / 2)
    assert found["bias"] == pytest.approx(2.0)
    assert found["sd"] == pytest.approx(sd)
    assert found["limits_of_agreement"] == pytest.approx([2 - 1.96 * sd, 2 + 1.96 * sd])
    t = stats.t.ppf(0.975, 2)
    assert found["bias_interval"] == pytest.approx([2 - t * sd / math.sqrt(3), 2 + t * sd / math.sqrt(3)])
    half = t * sd * math.sqrt(1 / 3 + 1.96**2 / 4)
    lower, upper = found["limits_interval"]
    assert lower == pytest.approx([2 - 1.96 * sd - half, 2 - 1.96 * sd + half])
    assert upper == pytest.approx([2 + 1.96 * sd - half, 2 + 1.96 * sd + half])


@pytest.mark.parametrize(
    ("reference", "measured", "reason"),
    [
        ([], [], {"bias": "no_cases", "sd": "no_cases", "icc_2_1": "no_cases"}),
        ([1.0], [3.0], {"sd": "n_below_2", "limits_of_agreement": "n_below_2", "icc_3_1": "n_below_2"}),
        ([1.0, 1.0], [1.0, 1.0], {"icc_2_1": "no_variance_between_scans", "icc_3_1": "no_variance_between_scans"}),
        ([1.0, 1.0], [2.0, 2.0], {"icc_2_1": "no_variance_between_scans", "icc_3_1": "no_variance_between_scans"}),
        ([1.0, 2.0], [2.0, 1.0], {"icc_2_1": "no_variance_between_scans"}),
    ],
)
def test_too_little_gives_null_with_a_reason(
    reference: list[float], measured: list[float], reason: dict[str, str]
) -> None:
    document = json.loads(json.dumps(volume_agreement(reference, measured), allow_nan=False))
    assert document["n"] == len(reference)
    assert reason.items() <= document["reasons"].items()
    assert set(document["reasons"]) == {name for name, value in document.items() if value is None}


def test_few_scans_without_agreement_have_no_interval() -> None:
    found = volume_agreement((8.246, 0.0, 9.295), (8.246, 18.122, 9.295))
    assert found["icc_2_1"] == pytest.approx(-0.978, abs=0.001)
    assert found["icc_2_1_interval"] is None
    assert found["reasons"] == {"icc_2_1_interval": "no_valid_interval"}
    low, high = found["icc_3_1_interval"]
    assert low <= found["icc_3_1"] <= high


ML = st.one_of(st.sampled_from([0.0, 1.1, 2.2, 8.246]), st.integers(0, 90_000).map(lambda value: value / 1000))


@given(st.lists(st.tuples(ML, ML), max_size=6))
def test_any_few_volumes_give_finite_numbers_or_null_and_intervals_hold_their_estimate(
    pairs: list[tuple[float, float]],
) -> None:
    found = volume_agreement([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    json.dumps(found, allow_nan=False)
    assert set(found.get("reasons", {})) == {name for name, value in found.items() if value is None}
    for name in ("icc_2_1", "icc_3_1"):
        if found[f"{name}_interval"] is not None:
            low, high = found[f"{name}_interval"]
            assert low - 1e-9 <= found[name] <= high + 1e-9


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    truth = 9.0 / 10.0  # variance of scans 9, of measurements 1
    hits = {"icc_2_1": 0, "icc_3_1": 0}
    for _ in range(400):
        table = rng.normal(0, 3, (25, 1)) + rng.normal(0, 1, (25, 2))
        found = intraclass_correlation(table)
        for name in hits:
            lower, upper = found[f"{name}_interval"]
            hits[name] += lower <= truth <= upper
    for name, count in hits.items():
        assert 0.92 <= count / 400 <= 0.98, name


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected finite measurements \(scans, 2 or more\)"):
        volume_agreement([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="same shape"):
        volume_agreement([1.0], [1.0, 2.0])
