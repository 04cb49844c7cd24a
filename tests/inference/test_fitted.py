"""aggregation.json and calibration.json are used by the very model that they were fitted for, and by no other."""

import json
import logging
import shutil

import numpy as np
import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.aggregation import TileWeights
from nnunet_multitask.inference.gated_attention import FEATURES_VERSION, GatedAttention, GatedHead
from nnunet_multitask.inference.model import sha256_of
from nnunet_multitask.labels import Target

ICH = Target("ich", "binary", ("no", "yes"))
# looks at the foreground, hard: the tile with the most of it decides
LOOK = np.array([[0.0, 5, 0, 0]])
SHARP = GatedAttention(
    ICH, np.zeros(3), np.ones(3), [GatedHead(LOOK, LOOK, np.ones(1), np.array([[1.0, 0, 0, 0]]))], "max"
)
CALIBRATION = {
    "version": 1,
    "fitted_on": {"cases": 20, "folds": [0, 1]},
    "targets": {"ich": {"type": "binary", "classes": ["no", "yes"], "temperature": 2.0, "thresholds": {"low": 0.0}}},
}


@pytest.fixture
def model(toy_model, tmp_path):
    """A model folder with a fitted attention for the target ich."""
    folder = tmp_path / toy_model.name
    shutil.copytree(toy_model, folder)
    digests = {str(fold): sha256_of(folder / f"fold_{fold}" / "checkpoint_final.pth") for fold in (0, 1)}
    document = {
        "version": 1,
        "features_version": FEATURES_VERSION,
        "model": {"checkpoint_sha256": digests},
        "fitted_on": {"cases": 20, "folds": [0, 1]},
        "targets": {"ich": {"type": "binary", "classes": ["no", "yes"], **SHARP.to_json()}},
    }
    (folder / "aggregation.json").write_text(json.dumps(document))
    return folder


def calibrate(model, **fitted_with):
    document = {**CALIBRATION, "model": {"checkpoint_sha256": fitted_with.pop("digests", {})}}
    document["fitted_on"] = {**document["fitted_on"], **fitted_with}
    (model / "calibration.json").write_text(json.dumps(document))


def digests_of(model):
    return json.loads((model / "aggregation.json").read_text())["model"]["checkpoint_sha256"]


def read(folder):
    return json.loads((folder / "classification.json").read_text())


def test_prediction_goes_by_the_fitted_attention_over_tiles_mirrors_and_folds(
    model, toy_images, predictor_of, tmp_path, monkeypatch
):
    predictor = predictor_of(model, aggregation=["ich=gated_attention"])
    seen = {}
    keep = predictor.keep
    monkeypatch.setattr(predictor, "keep", lambda case_id, found: (seen.update({case_id: found}), keep(case_id, found)))
    predictor.predict_from_files_sequential(str(toy_images), str(tmp_path / "out"))
    document = read(tmp_path / "out")
    assert document["settings"]["aggregation"] == {"ich": "gated_attention", "subtype": "lesion"}
    assert document["settings"]["aggregation_sha256"] == sha256_of(model / "aggregation.json")
    folds = seen["a"].tiles.folds
    expected = [
        SHARP(f.probabilities["ich"].mean(axis=1), TileWeights(f.weights.foreground_voxels, f.weights.importance))
        for f in folds
    ]
    assert len(folds) == 2
    assert len(folds[0].weights.importance) > 1
    found = document["cases"]["a"]["targets"]["ich"]
    assert found["probabilities"]["yes"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert found["fold_spread"]["yes"] == pytest.approx(np.std(expected), abs=1e-6)
    assert found["mirror_spread"]["yes"] > 0


def test_slices_use_it_too(model, toy_images, predictor_of, tmp_path):
    predictor = predictor_of(model, aggregation=["ich=gated_attention"], save_slices=True)
    predictor.predict_from_files_sequential(str(toy_images), str(tmp_path / "out"))
    assert len(read(tmp_path / "out")["cases"]["a"]["slices"]["ich"]) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["model"]["checkpoint_sha256"].update({"1": "0" * 64}), r"\[stale-aggregation\] .*of fold 1, got"),
        (lambda d: d["model"]["checkpoint_sha256"].pop("1"), r"\[stale-aggregation\] .*without fold 1"),
        (lambda d: d.update(features_version=99), r"\[stale-aggregation\] .*version 1, got 99"),
        (
            lambda d: d["targets"]["ich"].update(classes=["yes", "no"]),
            r"\[stale-aggregation\] .*no, yes, got .*yes, no",
        ),
        (lambda d: d["targets"]["ich"]["heads"][0].update(w=[1, 2]), r"\[bad-aggregation\] .*targets/ich"),
        (lambda d: d["targets"].update(other=d["targets"].pop("ich")), r"\[missing-aggregation\] .*those for other"),
    ],
)
def test_what_was_fitted_for_another_model_is_refused_by_name(model, predictor_of, edit, change, message):
    edit(model / "aggregation.json", change)
    with pytest.raises(InputError, match=rf"{message}.*fit-aggregation"):
        predictor_of(model, aggregation=["ich=gated_attention"])
    assert predictor_of(model).aggregations["ich"] == "max"  # nobody asks for it: nobody looks at it


def test_without_the_file_the_command_that_makes_it_is_named(toy_model, predictor_of):
    with pytest.raises(InputError, match=r"\[missing-aggregation\] --aggregation gated_attention.*fit-aggregation"):
        predictor_of(toy_model, aggregation=["gated_attention"])


def test_calibration_of_other_checkpoints_is_refused(model, toy_images, predictor_of, tmp_path):
    calibrate(model, digests=digests_of(model))
    assert predictor_of(model).reporting.calibration is not None
    calibrate(model, digests={**digests_of(model), "0": "0" * 64})
    with pytest.raises(InputError, match=r"\[stale-calibration\] .*of fold 0, got.*calibrate.*--no-calibration"):
        predictor_of(model)
    assert predictor_of(model, calibrate=False).reporting.calibration is None


def test_the_log_tells_the_probability_that_is_written(model, toy_images, predictor_of, tmp_path, edit, caplog):
    calibrate(model, digests=digests_of(model))
    edit(model / "calibration.json", lambda d: d["targets"]["ich"].update(temperature=0.05))
    caplog.set_level(logging.INFO)
    predictor_of(model).predict_from_files_sequential(str(toy_images), str(tmp_path / "out"))
    found = read(tmp_path / "out")["cases"]["a"]["targets"]["ich"]
    assert found["calibrated"]
    assert f"a ich: yes {found['probabilities']['yes']:.3f}" in caplog.text


def test_stale_calibration_is_told_where_nobody_configures(model, toy_images, predictor_of, tmp_path):
    calibrate(model, digests={"0": "0" * 64})
    predictor = predictor_of(model, calibrate=False)
    predictor.initialize_from_trained_model_folder(model)
    with pytest.raises(InputError, match="stale-calibration"):
        predictor.predict_from_files_sequential(str(toy_images), str(tmp_path / "out"))
    with pytest.raises(InputError, match="stale-calibration"):
        predictor.predict_images({})
    predictor.configure(calibrate=False)
    predictor.predict_from_files_sequential(str(toy_images), str(tmp_path / "out"))


def test_calibration_for_some_folds_warns_of_the_others(model, predictor_of, caplog):
    calibrate(model, digests={"0": digests_of(model)["0"]})
    predictor_of(model)
    assert "[other-folds]" in caplog.text
    assert "the folds 0, applied to fold 1" in caplog.text


def test_calibration_holds_for_the_aggregation_that_it_was_fitted_on(model, predictor_of):
    calibrate(model, aggregation={"ich": "gated_attention"}, aggregation_sha256=sha256_of(model / "aggregation.json"))
    predictor_of(model, aggregation=["ich=gated_attention"])
    with pytest.raises(InputError, match=r"\[other-aggregation\] .*expected gated_attention.*got max"):
        predictor_of(model)
    (model / "aggregation.json").write_text((model / "aggregation.json").read_text() + " ")  # fitted anew
    with pytest.raises(InputError, match=r"\[stale-calibration\] .*present aggregation.json, got one of an earlier"):
        predictor_of(model, aggregation=["ich=gated_attention"])
