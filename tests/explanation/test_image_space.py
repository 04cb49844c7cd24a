"""Maps go back to the voxels of the image: cropped, resampled, transposed and reoriented images."""

from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from nifti_files import oblique, save_nifti
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

from nnunet_multitask.errors import InputError
from nnunet_multitask.explanation.image_space import file_order, to_read_image
from nnunet_multitask.files import read_image


def resampled(data, shape, now, then):
    return resample_data_or_seg_to_shape(data, shape, now, then, is_seg=False, order=1, order_z=0)


def test_crop_and_transposition_are_undone():
    properties = {
        "spacing": [5.0, 1.0, 2.0],
        "shape_before_cropping": (8, 9, 5),
        "shape_after_cropping_and_before_resampling": (4, 6, 2),
        "bbox_used_for_cropping": [[1, 5], [2, 8], [3, 5]],
    }
    plans = SimpleNamespace(transpose_forward=[1, 2, 0], transpose_backward=[2, 0, 1])
    configuration = SimpleNamespace(spacing=[1.0, 2.0, 5.0], resampling_fn_probabilities=resampled)
    values = np.arange(48, dtype=np.float32).reshape(4, 6, 2)
    found = to_read_image(values, properties, plans, configuration)
    assert found.shape == (5, 8, 9)
    np.testing.assert_allclose(found[3:5, 1:5, 2:8], values.transpose(2, 0, 1), rtol=1e-5)
    found[3:5, 1:5, 2:8] = 0
    assert not found.any()


def test_coarser_grids_are_resampled():
    properties = {
        "spacing": [1.0, 1.0, 1.0],
        "shape_before_cropping": (4, 8, 8),
        "shape_after_cropping_and_before_resampling": (4, 8, 8),
        "bbox_used_for_cropping": [[0, 4], [0, 8], [0, 8]],
    }
    plans = SimpleNamespace(transpose_forward=[0, 1, 2], transpose_backward=[0, 1, 2])
    for spacing in ([1.0, 2.0, 2.0], [2.0, 2.0]):  # of a 3d and of a 2d configuration
        configuration = SimpleNamespace(spacing=spacing, resampling_fn_probabilities=resampled)
        values = np.zeros((4, 4, 4), np.float32)
        values[2, 1, 3] = 1
        found = to_read_image(values, properties, plans, configuration)
        assert found.shape == (4, 8, 8)
        assert np.unravel_index(found.argmax(), found.shape) in [(2, y, x) for y in (2, 3) for x in (6, 7)]


@pytest.mark.parametrize("affine", [oblique(), np.diag([2.0, 3.0, 4.0, 1.0]), oblique()[:, [2, 0, 1, 3]]])
@pytest.mark.parametrize("reader", [SimpleITKIO, NibabelIO, NibabelIOWithReorient, SimpleITKIOWithReorient])
def test_readers_that_turn_the_image_are_undone(tmp_path, reader, affine):
    path = save_nifti(tmp_path / "a_0000.nii.gz", affine=affine)
    read, _ = reader().read_images([str(path)])
    image = read_image(path)
    np.testing.assert_array_equal(file_order(read[0], image)(read[0]), image.array)
    np.testing.assert_array_equal(image.array.transpose(2, 1, 0), nibabel.load(path).get_fdata())


def test_readers_that_give_other_voxels_are_refused(tmp_path):
    image = read_image(save_nifti(tmp_path / "a_0000.nii.gz"))
    with pytest.raises(InputError, match=r"\[unsupported-reader\] .*a_0000.nii.gz: .*SimpleITKIO"):
        file_order(image.array + 1, image)
