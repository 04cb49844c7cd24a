"""nnU-Net's processes attend to the prediction that started them."""

import multiprocessing

import pytest
import torch.multiprocessing
from nnunetv2.inference import data_iterators, predict_from_raw_data
from toy_models import make_images

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference import workers
from nnunet_multitask.inference.records import UNFINISHED


def test_nnunet_looks_up_what_is_put_there():
    theirs = (data_iterators.preprocess_fromfiles_save_to_queue, data_iterators.Manager)
    assert data_iterators.Manager == torch.multiprocessing.Manager
    assert predict_from_raw_data.multiprocessing is multiprocessing
    with workers.attended():
        assert data_iterators.preprocess_fromfiles_save_to_queue is workers.preprocess
        assert predict_from_raw_data.multiprocessing.TimeoutError is multiprocessing.TimeoutError
        with predict_from_raw_data.multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(multiprocessing.parent_process) is not None
            assert pool._initializer is workers.attend
    assert (data_iterators.preprocess_fromfiles_save_to_queue, data_iterators.Manager) == theirs
    assert predict_from_raw_data.multiprocessing is multiprocessing


def test_what_cannot_be_written_ends_the_prediction_at_once(toy_model, predictor_of, tmp_path):
    images = make_images(tmp_path / "images", tuple("abcdefgh"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / UNFINISHED).write_text("in the way")
    predictor = predictor_of(toy_model)
    with pytest.raises(InputError, match=r"\[cannot-write\] .*a\.nii\.gz: expected to write the case whole"):
        predictor.predict_from_files(str(images), str(tmp_path / "out"), False, True, 1, 1)
    assert len(predictor.cases) < 8  # nnU-Net lets three wait to be written
