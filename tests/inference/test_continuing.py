"""A prediction that was stopped loses the cases in flight, and no more."""

import json

import numpy as np
import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.inference import exporting
from nnunet_multitask.inference.run import Run, join_parts


def predict(predictor, images, output, **options):
    predictor.predict_from_files_sequential(str(images), str(output), **options)
    return sorted(predictor.cases)


@pytest.fixture
def stopped(toy_model, toy_images, predictor_of, tmp_path, monkeypatch):
    """A folder whose prediction died while it wrote the mask of the second case."""
    write = exporting.export_prediction_from_logits

    def dies(logits, properties, configuration, plans, dataset_json, output, save_probabilities):
        write(logits, properties, configuration, plans, dataset_json, output, save_probabilities)
        if output.endswith("b"):
            with open(f"{output}.nii.gz", "r+b") as file:
                file.truncate(100)
            raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "export_prediction_from_logits", dies)
    with pytest.raises(KeyboardInterrupt):
        predict(predictor_of(toy_model), toy_images, tmp_path)
    monkeypatch.undo()
    return tmp_path


@pytest.fixture
def finished(toy_model, toy_images, predictor_of, tmp_path):
    predict(predictor_of(toy_model), toy_images, tmp_path)
    return tmp_path


def test_stopped_run_leaves_whole_cases_only_and_is_continued(stopped, toy_model, toy_images, predictor_of):
    assert (stopped / "a.nii.gz").is_file()
    assert (stopped / ".records" / "a.json").is_file()
    assert not (stopped / "b.nii.gz").exists()
    assert not (stopped / "classification.json").exists()
    before = (stopped / "a.nii.gz").stat().st_mtime_ns
    assert predict(predictor_of(toy_model), toy_images, stopped, overwrite=False) == ["b"]
    assert (stopped / "a.nii.gz").stat().st_mtime_ns == before
    document = json.loads((stopped / "classification.json").read_text())
    assert sorted(document["cases"]) == ["a", "b"]
    assert not (stopped / ".records").exists()
    assert not (stopped / ".unfinished").exists()


def test_stopped_run_ends_as_one_that_nobody_stopped(stopped, toy_model, toy_images, predictor_of):
    predict(predictor_of(toy_model), toy_images, stopped, overwrite=False)
    predict(predictor_of(toy_model), toy_images, stopped / "whole")
    one, other = (json.loads((folder / "classification.json").read_text()) for folder in (stopped, stopped / "whole"))
    for document in (one, other):
        for case in document["cases"].values():
            del case["seconds"]
    assert one == other


def test_truncated_mask_is_predicted_again(finished, toy_model, toy_images, predictor_of):
    whole = (finished / "a.nii.gz").read_bytes()
    (finished / "a.nii.gz").write_bytes(whole[:-20])
    assert predict(predictor_of(toy_model), toy_images, finished, overwrite=False) == ["a"]
    assert (finished / "a.nii.gz").read_bytes() == whole


def test_mask_without_record_is_predicted_again(finished, toy_model, toy_images, predictor_of, edit):
    edit(finished / "classification.json", lambda document: document["cases"].pop("b"))
    assert predict(predictor_of(toy_model), toy_images, finished, overwrite=False) == ["b"]
    assert predict(predictor_of(toy_model), toy_images, finished, overwrite=False) == []


def test_cases_that_are_not_asked_for_again_stay(finished, toy_model, toy_images, predictor_of):
    files = [[str(toy_images / "b_0000.nii.gz")]]
    (finished / "b.nii.gz").unlink()
    predictor = predictor_of(toy_model)
    predictor.predict_from_files_sequential(files, str(finished), overwrite=False)
    assert list(predictor.cases) == ["b"]
    assert sorted(json.loads((finished / "classification.json").read_text())["cases"]) == ["a", "b"]


def test_missing_or_damaged_probabilities_are_predicted_again(toy_model, toy_images, predictor_of, tmp_path):
    predict(predictor_of(toy_model), toy_images, tmp_path, save_probabilities=True)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.npz").unlink()
    options = {"overwrite": False, "save_probabilities": True}
    assert predict(predictor_of(toy_model), toy_images, tmp_path, **options) == ["a", "b"]
    assert np.load(tmp_path / "a.npz")["probabilities"].size


def test_run_that_overwrites_forgets_what_was_said_before(finished, toy_model, toy_images, predictor_of, monkeypatch):
    def dies(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "export_prediction_from_logits", dies)
    with pytest.raises(KeyboardInterrupt):
        predict(predictor_of(toy_model, aggregation=["mean"]), toy_images, finished)
    assert not (finished / "classification.json").exists()  # the masks are of the run before
    monkeypatch.undo()
    assert predict(predictor_of(toy_model, aggregation=["mean"]), toy_images, finished, overwrite=False) == ["a", "b"]


@pytest.mark.parametrize("options", [{"aggregation": ["mean"]}, {"save_tiles": True}])
def test_other_options_do_not_continue(finished, toy_model, toy_images, predictor_of, options):
    before = (finished / "plans.json").stat().st_mtime_ns
    with pytest.raises(InputError, match=r"\[other-model\] .*classification.json: .*same model and options"):
        predict(predictor_of(toy_model, **options), toy_images, finished, overwrite=False)
    assert (finished / "plans.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(("text", "code"), [("{", "bad-json"), ('{"version": 1}', "bad-document")])
def test_damaged_classification_is_not_continued_but_can_be_made_anew(
    finished, toy_model, toy_images, predictor_of, text, code
):
    whole = sorted(json.loads((finished / "classification.json").read_text())["cases"])
    (finished / "classification.json").write_text(text)
    anew = r"-> .*, or predict without --continue_prediction, which makes it anew"
    with pytest.raises(InputErrors, match=rf"\[{code}\] .*classification.json: .*{anew}"):
        predict(predictor_of(toy_model), toy_images, finished, overwrite=False)
    assert predict(predictor_of(toy_model), toy_images, finished) == whole
    assert sorted(json.loads((finished / "classification.json").read_text())["cases"]) == whole


def test_other_folds_do_not_continue_a_stopped_run(stopped, toy_model, toy_images, predictor_of):
    predictor = predictor_of(toy_model)
    predictor.initialize_from_trained_model_folder(toy_model, [1])
    with pytest.raises(InputError, match=r"\[other-model\] .*a\.json: .*folds \[0, 1\] instead of \[1\]"):
        predict(predictor, toy_images, stopped, overwrite=False)


def test_parts_of_the_work_are_joined_by_the_last(toy_model, toy_images, predictor_of, tmp_path):
    predictor_of(toy_model).predict_from_files(str(toy_images), str(tmp_path), False, True, 1, 1, None, 2, 1)
    part = json.loads((tmp_path / "classification_part_1_of_2.json").read_text())
    assert list(part["cases"]) == ["b"]
    assert not (tmp_path / "classification.json").exists()
    other = {**part, "cases": {"a": part["cases"]["b"]}}
    (tmp_path / "classification_part_0_of_2.json").write_text(json.dumps({**other, "model": {"trainer": "another"}}))
    join_parts(tmp_path, "classification_part_1_of_2.json", ("ich", "yes"))
    assert not (tmp_path / "classification.json").exists()
    (tmp_path / "classification_part_0_of_2.json").write_text(json.dumps(other))
    join_parts(tmp_path, "classification_part_1_of_2.json", ("ich", "yes"))
    assert json.loads((tmp_path / "classification.json").read_text())["cases"] == {**other["cases"], **part["cases"]}
    assert (tmp_path / "worklist.csv").is_file()
    assert (tmp_path / "worklist_part_1_of_2.csv").is_file()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_part_that_is_predicted_anew_takes_what_was_joined_away(tmp_path):
    names = ("classification.json", "classification.csv", "worklist.csv")
    parts = ("classification_part_0_of_2.json", "classification_part_1_of_2.json")
    for name in (*names, *parts):
        (tmp_path / name).write_text("{}")
    Run("classification_part_0_of_2.json").begin([tmp_path / "a"], overwrite=False)
    assert all((tmp_path / name).is_file() for name in (*names, *parts))
    Run("classification_part_0_of_2.json").begin([tmp_path / "a"], overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [parts[1]]


def test_the_stage_before_is_asked_for(toy_model, toy_images, predictor_of, tmp_path, monkeypatch):
    predictor = predictor_of(toy_model)
    kind = type(predictor.configuration_manager)
    monkeypatch.setattr(kind, "previous_stage_name", property(lambda self: "3d_lowres"))
    with pytest.raises(InputError, match=r"\[missing-previous-stage\] .*3d_lowres.*-prev_stage_predictions"):
        predict(predictor, toy_images, tmp_path / "out")
    assert not (tmp_path / "out").exists()
