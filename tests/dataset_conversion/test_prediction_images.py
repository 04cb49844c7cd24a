"""Images of new patients become what the training images became, channel by channel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.channels import ChannelOptions
from nnunet_multitask.dataset_conversion.folder import convert
from nnunet_multitask.dataset_conversion.folder_settings import FolderSettings
from nnunet_multitask.dataset_conversion.prediction_images import Recipe, prepare, recipe_of, recipe_of_model
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors


def save(path: Path, seed: int) -> None:
    array = np.random.default_rng(seed).integers(-1000, 2000, (5, 4, 3), np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    (tmp_path / "raw").mkdir()
    for number, case in enumerate("ab"):
        save(tmp_path / "in" / "images" / f"{case}.nii.gz", number)
        mask = nibabel.Nifti1Image(np.ones((5, 4, 3), np.uint8), np.eye(4))
        (tmp_path / "in" / "labels").mkdir(exist_ok=True)
        nibabel.save(mask, tmp_path / "in" / "labels" / f"{case}.nii.gz")
    (tmp_path / "in" / "classes.csv").write_text("case,c\na,x\nb,y\n")
    return tmp_path / "in"


def dataset(source: Path, channels: ChannelOptions, **settings: list[str]) -> Path:
    options = ConversionOptions(progress=False, num_workers=1, channels=channels)
    return convert(
        source,
        source.parent / "raw",
        dataset_id=5,
        dataset_name="Own",
        settings=FolderSettings(**settings),  # type: ignore[arg-type]
        options=options,
    ).folder


@pytest.mark.parametrize(
    "channels",
    [ChannelOptions(), ChannelOptions(("brain", "x=0/3000")), ChannelOptions(("bone",), mirror_channel=True)],
    ids=["none", "windows", "mirrored"],
)
def test_training_images_become_what_they_are_in_the_dataset(
    source: Path, tmp_path: Path, channels: ChannelOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dataset(source, channels)
    output = tmp_path / "new"
    command = ["convert", "prediction-images", "--input", str(source / "images"), "--output", str(output)]
    assert main([*command, "--dataset", "5", "--num-workers", "1"]) == 0
    assert "counts: 2 images" in capsys.readouterr().out
    expected = sorted((folder / "imagesTr").iterdir())
    assert [path.name for path in sorted(output.glob("*.nii.gz"))] == [path.name for path in expected]
    for path in expected:
        assert (output / path.name).read_bytes() == path.read_bytes()
    assert main([*command, "--dataset", "5", "--overwrite"]) == 0
    assert main([*command, "--dataset", "5"]) == 1
    assert "[already-exists]" in capsys.readouterr().err


@pytest.mark.parametrize("told", [True, False])
def test_a_model_knows_its_channels(
    source: Path, tmp_path: Path, told: bool, edit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dataset(source, ChannelOptions(("brain", "x=0/3000"), mirror_channel=True))
    shutil.copy(folder / "dataset.json", tmp_path)
    (tmp_path / "plans.json").write_text(json.dumps({"dataset_name": folder.name}))
    expected = Recipe(("CT",), ChannelOptions(("brain", "x=0/3000"), mirror_channel=True))
    if not told:  # trained before dataset.json did
        edit(tmp_path / "dataset.json", lambda document: document.pop("made_channels"))
        assert recipe_of_model(tmp_path) == expected
    monkeypatch.delenv("nnUNet_raw")
    if told:
        assert recipe_of_model(tmp_path) == expected
    else:
        with pytest.raises(InputError, match=r"\[unknown-channels\] .* nnUNet_raw name the folder of Dataset005_Own"):
            recipe_of_model(tmp_path)


def test_a_model_of_plain_images_needs_nothing(source: Path, tmp_path: Path) -> None:
    shutil.copy(dataset(source, ChannelOptions(), channel_names=["T1"]) / "dataset.json", tmp_path)
    (tmp_path / "plans.json").write_text("{}")
    assert recipe_of_model(tmp_path) == Recipe(("T1",))


def test_channels_of_the_source_are_known_from_the_report(source: Path) -> None:
    recipe = recipe_of(dataset(source, ChannelOptions(mirror_channel=True), channel_names=["T1"]))
    assert recipe == Recipe(("T1",), ChannelOptions(mirror_channel=True))
    for case in "ab":
        (source / "images" / f"{case}.nii.gz").rename(source / "images" / f"{case}_0000.nii.gz")
        save(source / "images" / f"{case}_0001.nii.gz", 7)
    options = ConversionOptions(overwrite=True, progress=False, num_workers=1)
    settings = FolderSettings(channel_names=["T1", "T2"])
    raw = source.parent / "raw"
    folder = convert(source, raw, dataset_id=5, dataset_name="Own", settings=settings, options=options).folder
    recipe = recipe_of(folder)
    assert recipe == Recipe(("T1", "T2"))
    report = prepare(source / "images", source.parent / "new", recipe, progress=False, num_workers=1)
    assert sorted(report["images"]["a"]) == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_all_faults_at_once_and_nothing_written(source: Path, tmp_path: Path) -> None:
    (source / "images" / "a.nii.gz").write_bytes((source / "images" / "a.nii.gz").read_bytes()[:-9])
    save(source / "images" / "c.nii.gz", 3)
    recipe = Recipe(channels=ChannelOptions(skull_strip=True))
    with pytest.raises(InputErrors) as caught:
        prepare(source / "images", tmp_path / "new", recipe, progress=False, num_workers=1)
    assert [Path(error.where).name for error in caught.value.errors] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert {error.code for error in caught.value.errors[1:]} == {"no-skull"}
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_done(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    windows = Recipe(("MR",), ChannelOptions(("brain",)))
    with pytest.raises(InputError, match=r"\[no-hounsfield\]"):
        prepare(source / "images", tmp_path / "new", windows, progress=False)
    (source / "images" / "a.nii.gz").rename(source / "images" / "a b.nii.gz")
    with pytest.raises(InputErrors, match=r"\[unsafe-case-id\] .*a b.nii.gz"):
        prepare(source / "images", tmp_path / "new", Recipe(), progress=False)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "precious").touch()
    with pytest.raises(InputError, match=r"\[already-exists\] .*got a folder with other files"):
        prepare(source / "images", tmp_path / "new", Recipe(), overwrite=True, progress=False)
    command = ["convert", "prediction-images", "--input", str(source), "--output", str(tmp_path / "x")]
    assert main([*command, "--dataset", "5", "--skull-strip"]) == 1
    assert "[needless-option] --dataset: expected --dataset or options of channels" in capsys.readouterr().err
    assert main([*command, "--dataset", "5"]) == 1
    assert "ERROR [" in capsys.readouterr().err


def test_datasets_without_report_are_refused(source: Path) -> None:
    folder = dataset(source, ChannelOptions())
    report = read_json(folder / "conversion_report.json")
    (folder / "conversion_report.json").unlink()
    with pytest.raises(InputError, match=r"\[missing-file\] .*conversion_report.json"):
        recipe_of(folder)
    assert report["channels"] == [{"name": "CT", "content": "CT"}]
