"""docs/probability.md: its example, formulas and numbers are those of the code, and its links lead somewhere."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.cli import calibrate, fit_aggregation, predict
from nnunet_multitask.config import MultiTaskConfig, ScheduleConfig
from nnunet_multitask.documents import check_schema
from nnunet_multitask.evaluation.calibration import TargetCalibration
from nnunet_multitask.evaluation.temperature import scale_independent
from nnunet_multitask.inference.aggregation import AGGREGATIONS, GATED_ATTENTION, NAMES, TileWeights
from nnunet_multitask.inference.ensembling import join_documents
from nnunet_multitask.inference.gated_attention import GatedHead
from nnunet_multitask.inference.reporting import target_record
from nnunet_multitask.labels import Target

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT = (DOCS / "probability.md").read_text("utf-8")
TARGET = Target("finding", "binary", ("none", "bleeding"))


def rows() -> dict[str, tuple[str, str]]:
    """Return formula and number of each aggregation in the table."""
    found = re.findall(r"^\| `(\w+)` \| `([^|]+)` \| ([\w. ]+) \|$", TEXT, flags=re.MULTILINE)
    return {name: (formula, number) for name, formula, number in found}


def test_excerpt_is_what_prediction_writes_of_the_numbers_in_words() -> None:
    excerpt = json.loads(TEXT.split("```json")[1].split("```")[0])
    assert "0.90 and 0.96, on average 0.93; a temperature of 2" in TEXT.replace("\n", " ")
    calibration = TargetCalibration(TARGET, dict.fromkeys(TARGET.classes, 2.0), {"youden": {"bleeding": 0.62}})
    by_fold, by_mirror = np.array([[0.9], [0.96]]), np.array([[0.92], [0.94]])
    assert excerpt == target_record(TARGET, by_fold, by_mirror, calibration, "youden")
    targets = {"finding": {"type": "binary", "classes": list(TARGET.classes)}}
    document = {"version": 1, "targets": targets, "cases": {"case": {"targets": {"finding": excerpt}}}}
    check_schema(document, "classification.json", "the page")


def test_every_aggregation_has_its_formula() -> None:
    assert list(rows()) == list(NAMES)
    for name, (formula, _) in rows().items():
        function = GatedHead.attention if name == GATED_ATTENTION else AGGREGATIONS[name]
        assert re.sub(r"\s", "", formula) in re.sub(r"\s", "", inspect.getdoc(function) or "")


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_numbers_of_the_three_tiles(name: str) -> None:
    weights = TileWeights(np.array([0.0, 0, 999]), np.ones(3), top_tiles=2)
    found = AGGREGATIONS[name](np.array([[0.1], [0.2], [0.9]]), weights)
    assert f"{found[0]:.3f}" == rows()[name][1]


def test_forty_tiles() -> None:
    found = AGGREGATIONS["noisy_or"](np.full((40, 1), 0.1), TileWeights(np.zeros(40), np.ones(40)))
    assert f"`noisy_or` of {found[0]:.3f}" in TEXT.replace("\n", " ")


def test_numbers_of_the_prior_shift() -> None:
    def odds(p: float) -> float:
        return p / (1 - p)

    def moved(p: float) -> float:
        new = odds(p) * odds(0.05) / odds(0.5)
        return new / (1 + new)

    assert f"A score of 0.5 learned at a = 0.5 is {moved(0.5):.2f} where b = 0.05; 0.8 is {moved(0.8):.2f}" in TEXT


def test_temperature_keeps_one_half() -> None:
    assert "makes 0.5 of 0.5, whatever T is" in TEXT
    assert scale_independent(np.array([0.5]), 3.0)[0] == pytest.approx(0.5)


def test_settings_options_and_files_exist() -> None:
    settings = {field.name for kind in (MultiTaskConfig, ScheduleConfig) for field in fields(kind)}
    named = re.findall(r"^\| `(\w+)[=`]", TEXT.split("## Scores are not")[1].split("## Calibration")[0], re.MULTILINE)
    assert len(named) == 4
    assert set(named) <= settings
    assert MultiTaskConfig().class_weights == "balanced"
    assert (MultiTaskConfig().aggregation, MultiTaskConfig().patch_aggregation) == ("lesion", "max")
    assert inspect.getsource(fit_aggregation).count("aggregation_out_of_fold.json") >= 1
    known = set()
    for command in (calibrate, fit_aggregation, predict):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        known |= {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z][a-z_-]+[a-z]", TEXT)) <= known


def test_mean_of_an_ensemble_is_the_formula() -> None:
    formula = re.search(r"`(p = sum_m [^`]+)`", TEXT)
    assert formula
    assert formula[1] in re.sub(r"\s+", " ", inspect.getdoc(join_documents) or "")


def test_links_lead_somewhere() -> None:
    found = re.findall(r"\]\(([\w./]*)(?:#([\w-]+))?\)", TEXT)
    assert found
    for page, anchor in found:
        text = (DOCS / page).read_text("utf-8") if page else TEXT
        headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, f"{page}#{anchor}"
