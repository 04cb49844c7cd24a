"""Triage: waits by hand, and what the simulation must find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.triage import DEFINITION, simulate_triage, triage_models, waits


def test_waits_by_hand() -> None:
    # read from 0 to 10; then b (came first) or d (most urgent), and so on; the last one finds an idle reader
    arrivals = np.array([0.0, 1.0, 2.0, 3.0, 100.0])
    assert waits(arrivals, 10, [0, 0, 0, 0, 0]).tolist() == [0, 9, 18, 27, 0]
    assert waits(arrivals, 10, [0.1, 0.2, 0.5, 0.9, 0]).tolist() == [0, 29, 18, 7, 0]


def test_a_perfect_model_saves_time_and_a_blind_one_none() -> None:
    positive = [True] * 10 + [False] * 40
    rates = {"arrivals_per_hour": 6, "minutes_per_scan": 9.5}
    perfect = simulate_triage([float(p) for p in positive], positive, **rates)
    assert (perfect["n"], perfect["positives"]) == (50, 10)
    assert perfect["by_probability_min"] < 10 < perfect["first_come_first_served_min"]
    assert perfect == simulate_triage([float(p) for p in positive], positive, **rates)
    blind = simulate_triage([0.5] * 50, positive, **rates)
    assert blind["saved_min"] == 0
    assert blind["first_come_first_served_min"] == perfect["first_come_first_served_min"]
    wrong = simulate_triage([1.0 - p for p in positive], positive, **rates)
    assert wrong["saved_min"] < 0


def test_an_idle_reader_leaves_nothing_to_save() -> None:
    found = simulate_triage([0.9, 0.1], [True, False], arrivals_per_hour=0.001, minutes_per_scan=1)
    assert (found["first_come_first_served_min"], found["by_probability_min"]) == (0, 0)


def test_no_positive_scan_has_no_wait() -> None:
    found = simulate_triage([0.3], [False], arrivals_per_hour=1, minutes_per_scan=1)
    assert (found["saved_min"], found["reason"]) == (None, "no_positive_scan")


def comparison(kind: str, classes: list[str], reference: Any) -> dict[str, Any]:
    cases = {"a": {"reference": reference, "probabilities": dict.fromkeys(classes, 0.5)}}
    score = {"type": kind, "classes": classes, "cases": cases}
    return {"models": {"base": {"classification": {}}, "multi": {"classification": {"t": score}}}}


def test_models_and_classes() -> None:
    rates = {"arrivals_per_hour": 12.0, "minutes_per_scan": 4.0}
    document = triage_models(comparison("binary", ["no", "yes"], "yes"), "t", **rates)
    assert (document["class"], document["utilisation"]) == ("yes", 0.8)
    assert list(document["models"]) == ["multi"]
    assert document["models"]["multi"]["positives"] == 1
    several = comparison("multilabel", ["a", "b"], ["b"])
    assert triage_models(several, "t:b", **rates)["models"]["multi"]["positives"] == 1
    assert triage_models(several, "t:a", **rates)["models"]["multi"]["positives"] == 0
    with pytest.raises(InputError, match="expected one of the classes a, b, got none -> name one: t:a"):
        triage_models(several, "t", **rates)
    with pytest.raises(InputError, match=r"\[unknown-target\]"):
        triage_models(several, "u:a", **rates)
    with pytest.raises(InputError, match=r"\[bad-rate\] .*got 0 scans per hour"):
        triage_models(several, "t:a", arrivals_per_hour=0, minutes_per_scan=4)


def test_the_definition_is_a_sentence_of_the_page() -> None:
    assert DEFINITION.startswith("Simulation, 200 times with a fixed seed")
