"""What is told of gated attention is honest: it finds what is there, and no case is judged by its own label."""

import json

import numpy as np
import pytest

from nnunet_multitask.inference.aggregation import TileWeights
from nnunet_multitask.labels import Case, LabelSidecar, Target
from nnunet_multitask.workflows.fit_aggregation import check_cases, fit, out_of_fold_table
from nnunet_multitask.workflows.seen_cases import SeenCase

ICH = Target("ich", "binary", ("no", "yes"))
NOISE = Target("noise", "multilabel", ("SAH", "SDH"))
MODEL = {"checkpoint_sha256": {"0": "0" * 64, "1": "1" * 64}}
NUM_CASES, NUM_TILES = 48, 9


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr("nnunet_multitask.inference.attention_fit.MAX_STEPS", 80)


@pytest.fixture
def folder(tmp_path):
    targets = {target.name: target.to_json() for target in (ICH, NOISE)}
    (tmp_path / "plans.json").write_text(json.dumps({"multitask": {"targets": targets}}))
    return tmp_path


def planted(noise_of_labels=0):
    """Two folds of cases whose class one tile knows, the one with the least foreground; of the rest nothing is told."""
    random, labels = np.random.default_rng(0), np.random.default_rng(noise_of_labels)
    seen, cases = {}, {}
    for number in range(NUM_CASES):
        case_id, positive = f"c{number:02d}", number % 4 < 2
        logits, foreground = random.normal(0, 3, NUM_TILES), random.uniform(200, 2000, NUM_TILES)
        place = random.integers(NUM_TILES)
        logits[place], foreground[place] = (1.5 if positive else -1.5) + random.normal(0, 0.7), 1.0
        tiles = {"ich": 1 / (1 + np.exp(-logits[:, None])), "noise": random.uniform(size=(NUM_TILES, 2))}
        seen[case_id] = SeenCase(number % 2, tiles, TileWeights(foreground, np.full(NUM_TILES, 9.0)))
        findings = tuple(name for name in NOISE.classes if labels.uniform() < 0.5)
        cases[case_id] = Case({"ich": "yes" if positive else "no", "noise": findings}, group=f"patient {number // 2}")
    return seen, LabelSidecar({"ich": ICH, "noise": NOISE}, cases)


def aucs(found, name):
    scores = found.document["targets"][name]["comparison"]
    return scores["recommended"], {kind: entry["auc"] for kind, entry in scores["aggregations"].items()}


def test_finds_the_tile_that_knows_and_nothing_in_noise(folder):
    seen, sidecar = planted()
    found = fit(folder, seen, MODEL, sidecar, {"ich": [], "noise": []}, {})
    recommended, scores = aucs(found, "ich")
    assert scores["gated_attention"] > 0.9
    assert max(value for kind, value in scores.items() if kind != "gated_attention") < 0.8
    assert recommended == "gated_attention"
    recommended, scores = aucs(found, "noise")
    assert scores["gated_attention"] < 0.65
    assert recommended == "lesion"  # the model's own
    assert found.document["targets"]["ich"]["evaluation"] == "leave_fold_out"


def test_no_case_is_judged_by_an_attention_that_saw_its_label(folder):
    seen, sidecar = planted()
    turned = {
        case_id: Case({**case.labels, "ich": "no" if case.labels["ich"] == "yes" else "yes"}, group=case.group)
        if seen[case_id].fold == 0
        else case
        for case_id, case in sidecar.cases.items()
    }
    rare = {"ich": []}
    one = fit(folder, seen, MODEL, sidecar, rare, {})
    other = fit(folder, seen, MODEL, LabelSidecar(sidecar.targets, turned), rare, {})
    same = [np.array_equal(one.honest["ich"][c], other.honest["ich"][c]) for c in seen]
    assert [fold == 0 for fold in (seen[c].fold for c in seen)] == same
    assert one.document["targets"]["ich"]["heads"] != other.document["targets"]["ich"]["heads"]


def test_cases_without_a_label_are_in_the_table_and_not_in_the_fit(folder):
    seen, sidecar = planted()
    cases = {**sidecar.cases, "c00": Case({"noise": ()}, group="patient 0")}
    found = fit(folder, seen, MODEL, LabelSidecar(sidecar.targets, cases), {"ich": []}, {})
    assert found.document["targets"]["ich"]["n"] == NUM_CASES - 1
    aggregations = {"ich": "gated_attention", "noise": "max"}
    table = out_of_fold_table(found, aggregations, "f" * 64, LabelSidecar(sidecar.targets, cases))
    assert set(table["cases"]) == set(seen)
    assert table["settings"] == {"aggregation": aggregations, "aggregation_sha256": "f" * 64}
    case = table["cases"]["c00"]
    assert (case["fold"], case["group"], case["reference"]) == (0, "patient 0", {"noise": []})
    expected = seen["c00"].tiles["noise"].max(axis=0)
    assert list(case["targets"]["noise"]["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_rare_class_of_several_has_the_models_own_aggregation(folder):
    seen, sidecar = planted()
    splits = {fold: {"train": [], "val": [c for c in seen if seen[c].fold == fold]} for fold in (0, 1)}
    cases = {
        c: Case({**case.labels, "noise": ("SDH",) if "SDH" in case.labels["noise"] else ()}, group=case.group)
        for c, case in sidecar.cases.items()
    }
    rare_labels = LabelSidecar(sidecar.targets, cases)
    rare = check_cases(folder, splits, rare_labels, leave_out_rare=True)
    assert rare == {"ich": [], "noise": ["SAH"]}
    found = fit(folder, seen, MODEL, rare_labels, {"noise": rare["noise"]}, {})
    entry = found.document["targets"]["noise"]
    assert (entry["left_out"], entry["heads"][0], entry["fallback"]) == (["SAH"], None, "lesion")
    assert found.document["left_out_targets"] == ["ich"]
