"""nnU-Net's processes attend to the prediction that started them."""

import multiprocessing

import torch.multiprocessing
from nnunetv2.inference import data_iterators, predict_from_raw_data

from nnunet_multitask.inference import workers


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
