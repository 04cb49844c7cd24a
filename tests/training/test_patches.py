"""Which slices of the image a patch shows: by hand, and through nnU-Net's own preprocessing and loader."""

from __future__ import annotations

import json

import numpy as np
import pytest
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_multitask.errors import InputError
from nnunet_multitask.training.patches import SLICES, SliceTellingLoader, slices_inside, telling_slices

NUM_SLICES, EMPTY_BELOW = 20, 3


@pytest.mark.parametrize(
    ("cut", "geometry", "expected"),
    [
        ((2, 4), (10, 10, 0), (2, 6)),
        ((2, 4), (10, 10, 5), (7, 11)),  # five slices were cropped off
        ((-3, 8), (10, 10, 0), (0, 5)),  # padded below
        ((6, 8), (10, 10, 0), (6, 10)),  # and above
        ((4, 4), (20, 10, 0), (2, 4)),  # twice as many voxels as slices
        ((0, 3), (20, 10, 0), (0, 1)),  # the centre of slice 1 lies at voxel 3, outside
        ((3, 1), (20, 10, 0), (1, 2)),  # half a slice, its own centre outside the half
        ((1, 2), (5, 10, 0), (2, 6)),  # half as many voxels as slices
        ((19, 1), (20, 10, 0), (9, 10)),
    ],
)
def test_slices_by_hand(cut, geometry, expected):
    assert slices_inside(*cut, *geometry) == expected


class OneCase:
    """A dataset of one preprocessed case, as far as the loader needs it."""

    identifiers = ("case",)

    def __init__(self, case):
        self.case = case

    def load_case(self, _):
        data, seg, properties = self.case
        return data, seg, None, properties


@pytest.mark.parametrize("transpose_forward", [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
@pytest.mark.parametrize("spacing_mm", [5.0, 2.5, 8.0])
def test_slices_are_those_whose_numbers_the_patch_shows(transpose_forward, spacing_mm, micro_env):
    """Every voxel holds the number of its slice, which no step on the way may mistake for another."""
    plans = PlansManager(str(micro_env.preprocessed / "micro.json"))
    plans.plans["transpose_forward"] = transpose_forward
    configuration = plans.get_configuration("3d_fullres")
    axial = transpose_forward.index(0)
    spacing = [1.0, 1.0, 1.0]
    spacing[axial] = spacing_mm
    configuration.configuration["spacing"] = spacing
    configuration.configuration["normalization_schemes"] = ["NoNormalization"]
    image = np.zeros((1, NUM_SLICES, 24, 24), np.float32)
    image[0, EMPTY_BELOW:] = np.arange(EMPTY_BELOW, NUM_SLICES, dtype=np.float32)[:, None, None]
    mask = np.zeros(image.shape, np.int16)
    mask[0, 8:12, 10:14, 10:14] = 1
    preprocessor = configuration.preprocessor_class(verbose=False)
    dataset_json = {
        "labels": {"background": 0, "lesion": 1},
        "channel_names": {"0": "noNorm"},
        "file_ending": ".nii.gz",
    }
    case = preprocessor.run_case_npy(image, mask, {"spacing": [5.0, 1.0, 1.0]}, plans, configuration, dataset_json)
    assert case[2]["bbox_used_for_cropping"][axial][0] == EMPTY_BELOW
    patch = [16, 16, 16]
    patch[axial] = 4
    initial = [size + 6 for size in patch]
    loader = SliceTellingLoader(
        OneCase(case), 4, initial, patch, plans.get_label_manager(dataset_json), 0.5, axial_axis=axial
    )
    np.random.seed(1)
    for _ in range(10):
        batch = loader.generate_train_batch()
        for sample, (first, last) in zip(batch["data"][:, 0].numpy(), batch[SLICES], strict=True):
            middle = sample[3:-3, 3:-3, 3:-3]  # what a transform would leave
            shown = middle[middle > 0]
            assert 0 <= first < last <= NUM_SLICES
            if not len(shown):  # the box may lie in the padding altogether
                continue
            # resampling blends neighbours, or leaves slices out where voxels are thicker
            tolerance = 0 if spacing_mm == 5 else max(1.0, spacing_mm / 5)
            assert abs(shown.min() - first) <= tolerance
            assert abs(shown.max() - (last - 1)) <= tolerance


def test_loader_is_put_back(micro_env):
    names = nnUNetTrainer.get_dataloaders.__globals__
    with telling_slices(nnUNetTrainer.get_dataloaders, [0, 1, 2]):
        assert names["nnUNetDataLoader"].func is SliceTellingLoader
    assert names["nnUNetDataLoader"] is nnUNetDataLoader


def test_another_loader_is_named():
    with (
        pytest.raises(InputError, match=r"\[unsupported-loader\] .*expected nnU-Net's own nnUNetDataLoader"),
        telling_slices(json.dumps, [0, 1, 2]),
    ):
        pass
