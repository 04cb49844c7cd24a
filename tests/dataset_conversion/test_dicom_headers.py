"""Which files hold a slice, which hold none, and which are faulty."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.dicom_headers import NoSlice, read_header
from nnunet_multitask.errors import InputError

PIXELS = np.arange(6 * 5, dtype=np.int16).reshape(6, 5)

Write = Callable[..., Path]


def test_what_a_header_says(tmp_path: Path, write_dicom: Write) -> None:
    tilted = (1, 0, 0, 0, np.cos(0.3), -np.sin(0.3))
    more = {"GantryDetectorTilt": "17.2", "SliceThickness": "4", "ConvolutionKernel": "STD", "AcquisitionNumber": 3}
    path = write_dicom(tmp_path / "a", PIXELS, (1.5, -2, 30), tilted, PixelSpacing=["0.5", "0.4"], **more)
    header = read_header(path)
    assert (header.series_uid, header.modality, header.shape) == ("1.2.3.4", "CT", (6, 5))
    assert header.pixel_spacing_mm == (0.5, 0.4)
    assert header.position_mm == (1.5, -2, 30)
    assert (header.gantry_tilt_degrees, header.slice_thickness_mm, header.kernel) == (17.2, 4, "STD")
    assert (header.instance_number, header.acquisition_number, header.series_number) == (1, 3, None)
    np.testing.assert_allclose(header.normal, [0, np.sin(0.3), np.cos(0.3)], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(header.normal), 1, atol=1e-12)


@pytest.mark.parametrize("form", [{"implicit": True}, {"big_endian": True}, {"preamble": False, "implicit": True}])
def test_other_encodings(tmp_path: Path, write_dicom: Write, form: dict) -> None:
    header = read_header(write_dicom(tmp_path / "a", PIXELS, (1, 2, 3), **form))
    assert header.position_mm == (1, 2, 3)
    assert header.shape == (6, 5)


@pytest.mark.parametrize(
    ("attributes", "code", "text"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer", "it is a localizer"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour-image", "colours"),
        ({"NumberOfFrames": 2}, "multi-frame", "several frames in one file; export it as one slice a file"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "no-slice", "it holds Secondary Capture Image Storage"),
        ({"Modality": "MR"}, "other-modality", "its modality is MR, wanted is CT"),
        ({"ImagePositionPatient": None, "ImageOrientationPatient": None}, "no-position", "no position in the patient"),
    ],
)
def test_no_slice_of_a_volume(tmp_path: Path, write_dicom: Write, attributes: dict, code: str, text: str) -> None:
    with pytest.raises(NoSlice, match=text) as caught:
        read_header(write_dicom(tmp_path / "a", PIXELS, **attributes))
    assert caught.value.code == code
    assert caught.value.series_uid == "1.2.3.4"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.series_uid) == (str(caught.value), "1.2.3.4")


def test_object_without_an_image(tmp_path: Path) -> None:
    import pydicom

    dataset = pydicom.Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    dataset.SOPInstanceUID = "1.2"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(tmp_path / "dose", enforce_file_format=True)
    with pytest.raises(NoSlice, match=r"\[no-image\] .*dose: it holds no image but X-Ray Radiation Dose SR Storage"):
        read_header(tmp_path / "dose")


@pytest.mark.parametrize("content", [b"plain text", b"\x08\x00 begins like an old DICOM file", b"x" * 400])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(NoSlice, match=r"\[not-dicom\]"):
        read_header(tmp_path / "a")


def test_modality_can_be_chosen(tmp_path: Path, write_dicom: Write) -> None:
    path = write_dicom(tmp_path / "a", PIXELS, Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    assert read_header(path, ("MR",)).modality == "MR"


@pytest.mark.parametrize("compression", [None, "JPEG"])
def test_a_file_cut_anywhere_is_never_taken_for_no_slice(
    tmp_path: Path, write_dicom: Write, compression: str | None
) -> None:
    path = write_dicom(tmp_path / "a", PIXELS, compression=compression)
    content = path.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00")  # of the pixels; native ones that end early are found when read
    for length in [*range(133, start, 7), *([len(content) - 10] if compression else [])]:
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"\[(truncated-dicom|bad-dicom|bad-dicom-geometry)\]") as caught:
            read_header(path)
        assert not isinstance(caught.value, NoSlice), length


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match=r"\[empty-file\]"):
        read_header(tmp_path / "a")


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"PixelSpacing": ["0.5", "0"]}, r"expected a positive PixelSpacing, got \[0.5, 0.0\]"),
        ({"PixelSpacing": None}, "expected 2 numbers in PixelSpacing, got None"),
        ({"ImagePositionPatient": None}, "expected 3 numbers in ImagePositionPatient, got None"),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "two unit vectors at right angles"),
        ({"ImageOrientationPatient": ["2", "0", "0", "0", "1", "0"]}, "two unit vectors at right angles"),
        ({"SeriesInstanceUID": None}, "expected a SeriesInstanceUID, found none"),
    ],
)
def test_impossible_geometry(tmp_path: Path, write_dicom: Write, attributes: dict, text: str) -> None:
    with pytest.raises(InputError, match=rf"\[bad-dicom-geometry\] .*{text}"):
        read_header(write_dicom(tmp_path / "a", PIXELS, **attributes))
