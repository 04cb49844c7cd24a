"""DICOM folders in, masks out: what a viewer lays over the series, and nothing of the patient."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_files import AXIAL, SECRETS, write_dicom, write_series
from toy_models import make_images

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import check_schema

POSITIONS = [(-10.0, -12.0, 5.0 * index) for index in range(6)]
SPACING = {"PixelSpacing": ["2", "2"]}


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def slices(seed, count=6):
    return list(np.random.default_rng(seed).normal(40, 40, (count, 16, 20)).astype(np.int16))


@pytest.fixture
def scans(tmp_path):
    """Two patients: one series each, the first with a localizer, deep in folders, under names that say nothing."""
    folder = tmp_path / "scans"
    write_series(folder / "p 1" / "study" / "2", slices(0), POSITIONS, **SPACING)
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesInstanceUID": "1.2.3.9", **SPACING}
    write_dicom(folder / "p 1" / "study" / "1" / "scout", slices(0)[0], **scout)
    write_series(folder / "p2", slices(1), POSITIONS, SeriesInstanceUID="1.2.3.5", **SPACING)
    return folder


def predict(model, source, output, *options):
    argv = ["predict", "-i", str(source), "-o", str(output), "-m", str(model), "-device", "cpu"]
    return main([*argv, "-npp", "0", "-nps", "0", "--disable_progress_bar", *options])


def corners(image):
    """Return where the corners of an image lie, in mm, in order."""
    indices = np.array(list(np.ndindex(2, 2, 2))) * (np.array(image.GetSize()) - 1)
    return sorted(np.round(image.TransformIndexToPhysicalPoint(index.tolist()), 4).tolist() for index in indices)


def add_image(folder):
    shutil.move(make_images(folder.parent / "images") / "a_0000.nii.gz", folder)


def cut_file(folder):
    path = min((folder / "p2").iterdir())
    path.write_bytes(path.read_bytes()[:600])


def refusals(capfd, *args):
    capfd.readouterr()
    assert predict(*args) == 1
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR ")]


def test_series_are_predicted_as_their_images(toy_model, scans, tmp_path):
    out, kept = tmp_path / "out", tmp_path / "kept"
    assert predict(toy_model, scans, out, "--keep-converted", str(kept)) == 0
    assert predict(toy_model, kept, tmp_path / "of images") == 0
    document, of_images = (json.loads((f / "classification.json").read_text()) for f in (out, tmp_path / "of images"))
    check_schema(document, "classification.json", out)
    assert list(document["cases"]) == ["p2", "p_1"]
    assert document["cases"]["p_1"].pop("dicom") == {"series_uid": "1.2.3.4", "slices": 6, "resampled_for": []}
    assert document["cases"]["p2"].pop("dicom")["series_uid"] == "1.2.3.5"
    for case_id, case in document["cases"].items():
        mask = out / f"{case_id}.nii.gz"
        assert mask.read_bytes() == (tmp_path / "of images" / mask.name).read_bytes()
        assert {**case, "seconds": 0} == {**of_images["cases"][case_id], "seconds": 0}
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "orientation",
    [AXIAL, (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)],
    ids="axial flip turned".split(),
)
def test_mask_lies_where_itk_reads_the_series(toy_model, tmp_path, orientation):
    write_series(tmp_path / "in", slices(0), POSITIONS, orientation, **SPACING)
    assert predict(toy_model, tmp_path / "in", tmp_path / "out") == 0
    mask = sitk.ReadImage(tmp_path / "out" / "in.nii.gz")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "in")))
    series = reader.Execute()
    assert mask.GetSize() == series.GetSize()
    assert np.allclose(corners(mask), corners(series), atol=1e-3)  # axes may run the other way
    if orientation == AXIAL:
        assert np.allclose(mask.GetOrigin(), series.GetOrigin(), atol=1e-4)
        assert mask.GetDirection() == pytest.approx(series.GetDirection())
        assert mask.GetSpacing() == pytest.approx(series.GetSpacing())


def test_nothing_of_the_patient_is_written(toy_model, scans, tmp_path):
    assert predict(toy_model, scans, tmp_path / "out", "--keep-converted", str(tmp_path / "kept")) == 0
    for path in [*(tmp_path / "out").rglob("*"), *(tmp_path / "kept").rglob("*")]:
        content = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in SECRETS.values() if secret.encode() in content], path


def test_windows_of_the_model_are_made(toy_model, scans, tmp_path, edit):
    model = tmp_path / toy_model.name
    shutil.copytree(toy_model, model)
    made = {"of": ["CT"], "windows": ["brain"], "skull_strip": False, "mirror_channel": False}
    edit(model / "dataset.json", lambda d: d.update(channel_names={"0": "rgb_to_0_1"}, made_channels=made))
    assert predict(model, scans, tmp_path / "out", "--keep-converted", str(tmp_path / "kept")) == 0
    window = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "kept" / "p2_0000.nii.gz"))
    assert np.array_equal(window, np.rint(np.clip(np.array(slices(1)), 0, 80) * (255 / 80)))
    report = json.loads((tmp_path / "kept" / "conversion_report.json").read_text())
    assert report["channels"] == ["brain: 40/80 HU"]


def test_unknown_windows_are_refused(toy_model, scans, tmp_path, edit, capfd, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    model = tmp_path / toy_model.name
    shutil.copytree(toy_model, model)
    edit(model / "dataset.json", lambda document: document.update(channel_names={"0": "rgb_to_0_1"}))
    (line,) = refusals(capfd, model, scans, tmp_path / "out")
    assert "[unknown-channels]" in line
    assert "let nnUNet_raw name the folder of Dataset999_Toy" in line
    assert not (tmp_path / "out").exists()


def test_channels_of_several_sources_are_refused(toy_model, scans, tmp_path, edit, capfd):
    model = tmp_path / toy_model.name
    shutil.copytree(toy_model, model)
    edit(model / "dataset.json", lambda document: document.update(channel_names={"0": "T1", "1": "T2"}))
    (line,) = refusals(capfd, model, scans, tmp_path / "out")
    assert "[several-sources]" in line
    assert "got T1, T2 -> make images" in line


def test_several_series_of_a_case_are_listed_and_one_may_be_chosen(toy_model, scans, tmp_path, capfd):
    bone = {"SeriesInstanceUID": "1.2.3.7", "ConvolutionKernel": "H60s", "SliceThickness": "1.5", **SPACING}
    write_series(scans / "p 1" / "study" / "3", slices(2, 4), POSITIONS[:4], **bone)
    (line,) = refusals(capfd, toy_model, scans, tmp_path / "out")
    assert "[several-series]" in line
    assert "p 1: expected one series for a case, got 2: 1.2.3.4 (CT, 6 slices); 1.2.3.7 (CT, 4 slices" in line
    assert "of 1.5 mm, H60s)" in line
    assert "--series UID" in line
    assert not (tmp_path / "out").exists()
    assert predict(toy_model, scans, tmp_path / "out", "--series", "1.2.3.7") == 0
    cases = json.loads((tmp_path / "out" / "classification.json").read_text())["cases"]
    assert {case_id: case["dicom"]["series_uid"] for case_id, case in cases.items()} == {
        "p_1": "1.2.3.7",
        "p2": "1.2.3.5",
    }


@pytest.mark.parametrize(
    ("spoil", "options", "words"),
    [
        (lambda folder: None, ["--series", "9.9"], ["[no-series]", "expected the series 9.9", "1.2.3.5 (CT, 6 slices"]),
        (add_image, [], ["[mixed-input]", "got both: a_0000.nii.gz and p 1/study", "folders of their own"]),
        (lambda folder: (folder / "p2").rename(folder / "p_1"), [], ["[duplicate-case]", "p_1", "rename"]),
        (cut_file, [], ["[truncated-dicom]", "p2/IM", "copy the file again"]),
    ],
    ids=["series", "mixed", "names", "cut"],
)
def test_other_folders_are_refused(toy_model, scans, tmp_path, capfd, spoil, options, words):
    spoil(scans)
    (line,) = refusals(capfd, toy_model, scans, tmp_path / "out", *options)
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


def test_options_for_dicom_need_dicom(toy_model, toy_images, tmp_path, capfd):
    (line,) = refusals(capfd, toy_model, toy_images, tmp_path / "out", "--series", "1.2")
    assert "[needless-option] --series: expected DICOM series" in line
    assert "leave it out" in line


def test_doubtful_series_are_named_and_go_on(toy_model, scans, tmp_path, caplog):
    tilted = [(-10.0, -12.0 + 0.5 * index, 5.0 * index) for index in range(6)]
    shutil.rmtree(scans / "p2")
    write_series(scans / "p2", slices(1), tilted, SeriesInstanceUID="1.2.3.5", **SPACING)
    next(path for path in (scans / "p 1" / "study" / "2").iterdir() if b"1.2.3.4.3" in path.read_bytes()).unlink()
    write_dicom(scans / "p3" / "scout", slices(0)[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (scans / "p4").mkdir()
    (scans / "p5").mkdir()
    (scans / "p5" / "notes.txt").write_text("copied tomorrow")
    assert predict(toy_model, scans, tmp_path / "out") == 0
    for name in ("p4", "p5"):
        assert f"{scans / name}: it holds no DICOM file -> nothing of it is predicted" in caplog.text
    assert caplog.text.count("[no-series]") == 3
    assert "WARN [resampled] case p2" in caplog.text
    assert "gantry-tilt (5.7 degrees) -> resampled to an upright grid, on which the mask lies, too" in caplog.text
    assert "WARN [missing-slice]" in caplog.text
    assert f"WARN [no-series] {scans / 'p3'}: it is a localizer (1 file) -> nothing of it is predicted" in caplog.text
    cases = json.loads((tmp_path / "out" / "classification.json").read_text())["cases"]
    assert cases["p2"]["dicom"]["resampled_for"] == ["gantry-tilt"]
    assert cases["p_1"]["dicom"]["slices"] == 5


def test_a_folder_without_images_is_refused(toy_model, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("none")
    (line,) = refusals(capfd, toy_model, tmp_path / "in", tmp_path / "out")
    assert "[missing-images]" in line
