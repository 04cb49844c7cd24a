"""Prediction from Python: results are returned and written at once, and keep their names."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from nnunet_multitask.errors import InputError, InputErrors


def array_of(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture
def images(toy_images):
    return {f"scan {name}": [toy_images / f"{name}_0000.nii.gz"] for name in "ba"}


def test_results_are_returned_and_written_at_once(toy_model, images, predictor_of, tmp_path):
    predictor = predictor_of(toy_model)
    results = predictor.predict_images(images, tmp_path)
    first = next(results)
    assert first.case_id == "scan b"
    assert np.array_equal(first.mask, array_of(tmp_path / "scan b.nii.gz"))
    assert not (tmp_path / "classification.json").exists()  # the other is still to come
    (second,) = results
    document = json.loads((tmp_path / "classification.json").read_text())
    assert document["cases"] == {"scan a": second.record, "scan b": first.record}
    assert list(predictor.cases) == ["scan b", "scan a"]


def test_files_arrays_and_written_cases_are_the_same(toy_model, images, toy_images, predictor_of, tmp_path):
    predictor = predictor_of(toy_model, save_slices=True)
    written, read = (
        {result.case_id: result for result in predictor.predict_images(images, output)} for output in (tmp_path, None)
    )
    arrays = {name: (array_of(files[0])[None], (5.0, 2.0, 2.0)) for name, files in images.items()}
    given = {result.case_id: result for result in predictor.predict_images(arrays)}
    for name in images:
        for other in (read[name], given[name]):
            assert np.array_equal(other.mask, written[name].mask)
            assert {**other.record, "seconds": 0} == {**written[name].record, "seconds": 0}


def test_tiles_come_with_the_record_where_nothing_is_written(toy_model, images, predictor_of):
    (first, _) = predictor_of(toy_model, save_tiles=True).predict_images(images)
    assert {"box", "probabilities"} <= set(first.record["tiles"]["tiles"][0])


def test_faults_are_named_before_the_first_case(toy_model, images, predictor_of, tmp_path):
    (tmp_path / "cut.nii.gz").write_bytes(images["scan a"][0].read_bytes()[:-30])
    with pytest.raises(InputErrors, match=r"\[damaged-gzip\] .*cut.nii.gz"):
        next(predictor_of(toy_model).predict_images({**images, "cut": [tmp_path / "cut.nii.gz"]}, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"\[bad-case-id\] case '../x': "):
        next(predictor_of(toy_model).predict_images({"../x": images["scan a"]}, tmp_path / "out"))
    arrays = {"a": (np.zeros((1, 6, 16, 20)), (5.0, 2.0, 2.0))}
    with pytest.raises(ValueError, match="origin and direction are not known"):
        next(predictor_of(toy_model).predict_images(arrays, tmp_path / "out"))


def test_volumes_of_an_iterator_keep_their_names(toy_model, predictor_of):
    predictor = predictor_of(toy_model)
    properties = {
        "spacing": [5.0, 2.0, 2.0],
        "shape_before_cropping": (6, 16, 20),
        "shape_after_cropping_and_before_resampling": (6, 16, 20),
        "bbox_used_for_cropping": [[0, 6], [0, 16], [0, 20]],
    }
    items = [
        {"data": torch.zeros(1, 6, 16, 20), "data_properties": properties, "ofile": None, "case_id": name}
        for name in ("late", "early")
    ]
    masks = predictor.predict_from_data_iterator(iter(items), False, 1)
    assert [mask.shape for mask in masks] == [(6, 16, 20)] * 2
    assert list(predictor.cases) == ["late", "early"]


def test_one_path_is_no_list_and_a_tuple_of_files_is(toy_model, toy_images, predictor_of):
    predictor = predictor_of(toy_model)
    path = toy_images / "a_0000.nii.gz"
    with pytest.raises(InputError, match=r"\[bad-image\] case a: expected a list of files, one for each channel"):
        next(predictor.predict_images({"a": str(path)}))
    with pytest.raises(InputError, match=r"\[bad-array\] case b"):
        next(predictor.predict_images({"a": [path], "b": (array_of(path), (5.0, 2.0, 2.0))}))
    assert next(predictor.predict_images({"a": (path,)})).case_id == "a"
