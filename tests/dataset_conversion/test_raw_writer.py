"""The writer: what it copies, mends, makes and refuses, and what it says about each."""

from __future__ import annotations

import gzip
import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from nnunet_multitask.dataset_conversion.channels import ChannelOptions
from nnunet_multitask.dataset_conversion.raw_writer import write_dataset
from nnunet_multitask.dataset_conversion.sources import (
    Conversion,
    ConversionOptions,
    LoadedCase,
    Source,
    SourceCase,
)
from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import Volume, read_image, read_mask
from nnunet_multitask.labels import Case, Target, read_sidecar

SHAPE = (6, 5, 4)  # (x, y, z)
AFFINE = np.diag([-0.5, -0.5, 5.0, 1.0])
KIND = Target("kind", "multiclass", ("IPH", "IVH"))
QUIET = ConversionOptions(progress=False, num_workers=1)


def save(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64] = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def ct(number: int) -> npt.NDArray[np.int16]:
    return np.full(SHAPE, -1000, np.int16) + np.arange(SHAPE[2], dtype=np.int16) + np.int16(10 * number)


def blood() -> npt.NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 1, 3] = 1
    return mask


def make_case(root: Path, number: int, **changes: Any) -> SourceCase:
    case_id = f"case_{number}"
    image = save(root / "images" / f"{case_id}.nii.gz", ct(number))
    mask = save(root / "labels" / f"{case_id}.nii.gz", blood())
    labels = {"kind": KIND.classes[number % 2]}
    return replace(SourceCase(case_id, (image,), mask, Case(labels, group=f"p{number}")), **changes)


def make_source(root: Path, *cases: SourceCase, **changes: Any) -> Source:
    source = Source("test", root, cases, {"kind": KIND}, {"hemorrhage": 1}, ("CT",))
    return replace(source, **changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw" / "Dataset007_Own"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# what is written


def test_folder_and_report(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1), make_case(root, 2, is_test=True)]
    before = files(root)
    conversion = write_dataset(
        make_source(root, *cases, description="Two bleeds", licence="CC0", options={"labels": "binary"}), folder, QUIET
    )
    assert conversion.folder == folder
    assert conversion.written
    written = files(folder)
    assert sorted(name for name in written if name.endswith(".nii.gz")) == [
        "imagesTr/case_0_0000.nii.gz",
        "imagesTr/case_1_0000.nii.gz",
        "imagesTs/case_2_0000.nii.gz",
        "labelsTr/case_0.nii.gz",
        "labelsTr/case_1.nii.gz",
        "labelsTs/case_2.nii.gz",
    ]
    assert written["imagesTr/case_0_0000.nii.gz"] == before["images/case_0.nii.gz"]
    assert files(root) == before
    assert read_json(folder / "dataset.json") == {
        "name": "Dataset007_Own",
        "description": "Two bleeds",
        "licence": "CC0",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "hemorrhage": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    report = read_json(folder / "conversion_report.json")
    check_schema(report, "conversion_report.json", "report")
    assert report == conversion.report
    assert report["dataset"] == "Dataset007_Own"
    assert report["options"] == {
        "link": False,
        "tolerance_mm": 1e-3,
        "repair_geometry": False,
        "windows": [],
        "skull_strip": False,
        "mirror_channel": False,
        "labels": "binary",
    }
    assert report["channels"] == [{"name": "CT", "content": "CT"}]
    assert report["counts"] == {"training": 2, "test": 1, "label_only": 0, "repaired": 0, "excluded": 0}
    assert report["classes"] == {
        "training": {"kind": {"IPH": 1, "IVH": 1, "unknown": 0}},
        "test": {"kind": {"IPH": 1, "IVH": 0, "unknown": 0}},
    }
    assert report["cases"]["case_2"] == {
        "status": "taken",
        "part": "test",
        "images": ["images/case_2.nii.gz"],
        "mask": "labels/case_2.nii.gz",
        "inputs": {
            name: hashlib.sha256(before[name]).hexdigest() for name in ("images/case_2.nii.gz", "labels/case_2.nii.gz")
        },
        "repairs": [],
        "foreground_voxels": 1,
    }


def test_several_workers_write_the_same(root: Path, folder: Path) -> None:
    source = make_source(root, *(make_case(root, number) for number in range(5)))
    write_dataset(source, folder, QUIET)
    alone = files(folder)
    write_dataset(source, folder, replace(QUIET, num_workers=2, overwrite=True))
    assert files(folder) == alone


def test_classes_by_split_of_the_source(root: Path, folder: Path) -> None:
    splits = ["train", "val", "train"]
    cases = [
        make_case(root, number, case=Case({"kind": "IVH"} if number else {}, split=split))
        for number, split in enumerate(splits)
    ]
    assert write_dataset(make_source(root, *cases), folder, QUIET).report["splits"] == {
        "train": {"kind": {"IPH": 0, "IVH": 1, "unknown": 1}},
        "val": {"kind": {"IPH": 0, "IVH": 1, "unknown": 0}},
    }


def test_label_only_cases_are_ignored_everywhere(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1, mask=None), make_case(root, 2, mask=None, is_test=True)]
    report = write_dataset(make_source(root, *cases), folder, QUIET).report
    mask = read_mask(folder / "labelsTr" / "case_1.nii.gz")
    assert mask.array.dtype == np.uint8
    assert (mask.array == 2).all()
    np.testing.assert_allclose(mask.affine, read_image(cases[1].images[0]).affine)
    assert list((folder / "labelsTs").iterdir()) == []
    labels = read_json(folder / "dataset.json")["labels"]
    assert list(labels.items()) == [("background", 0), ("hemorrhage", 1), ("ignore", 2)]
    assert report["counts"]["label_only"] == 1
    assert report["cases"]["case_1"]["mask"] is None
    assert report["cases"]["case_1"]["foreground_voxels"] is None
    check_schema(report, "conversion_report.json", "report")


def test_declared_ignore_label_stands_last(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1, mask=None)]
    labels = {"ignore": 3, "IPH": 1, "IVH": 2}
    write_dataset(make_source(root, *cases, labels=labels), folder, QUIET)
    assert (read_mask(folder / "labelsTr" / "case_1.nii.gz").array == 3).all()
    written = read_json(folder / "dataset.json")["labels"]
    assert list(written.items()) == [("background", 0), ("IPH", 1), ("IVH", 2), ("ignore", 3)]


def test_regions(root: Path, folder: Path) -> None:
    source = make_source(root, make_case(root, 0), labels={"any": [1, 2], "IVH": 2}, regions_class_order=(1, 2))
    write_dataset(source, folder, QUIET)
    document = read_json(folder / "dataset.json")
    assert document["labels"] == {"background": 0, "any": [1, 2], "IVH": 2}
    assert document["regions_class_order"] == [1, 2]


def test_links_only_where_asked_for(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1)]
    assert cases[1].mask is not None
    save(cases[1].mask, blood() * 1.0001)
    write_dataset(make_source(root, *cases), folder, replace(QUIET, link=True))
    assert (folder / "imagesTr" / "case_0_0000.nii.gz").samefile(cases[0].images[0])
    assert (folder / "labelsTr" / "case_1.nii.gz").stat().st_nlink == 1  # mended, so it is a file of its own
    write_dataset(make_source(root, *cases), folder, replace(QUIET, overwrite=True))
    assert cases[0].images[0].stat().st_nlink == 1


def test_channels_of_a_ct(root: Path, folder: Path) -> None:
    options = replace(QUIET, channels=ChannelOptions(windows=("brain", "bone"), mirror_channel=True))
    report = write_dataset(make_source(root, make_case(root, 0)), folder, options).report
    assert len(list((folder / "imagesTr").iterdir())) == 4
    assert read_json(folder / "dataset.json")["channel_names"] == dict.fromkeys("0123", "rgb_to_0_1")
    assert report["options"]["windows"] == ["brain", "bone"]
    assert [channel["content"] for channel in report["channels"]] == [
        "brain: 40/80 HU",
        "bone: 600/2800 HU",
        "brain: 40/80 HU, mirrored left-right",
        "bone: 600/2800 HU, mirrored left-right",
    ]
    check_schema(report, "conversion_report.json", "report")


@pytest.mark.parametrize("changes", [{"channel_names": ("MR",)}, {"intensities_are_hu": False}], ids=str)
def test_windows_need_hounsfield_units(root: Path, folder: Path, changes: dict[str, Any]) -> None:
    options = replace(QUIET, channels=ChannelOptions(windows=("brain",)))
    with pytest.raises(InputError, match=r"\[no-hounsfield\] --windows"):
        write_dataset(make_source(root, make_case(root, 0), **changes), folder, options)


def test_nnunet_finds_no_fault(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nnunetv2.experiment_planning import verify_dataset_integrity as nnunet

    cases = [make_case(root, 0), make_case(root, 1, mask=None), make_case(root, 2, is_test=True)]
    options = replace(QUIET, channels=ChannelOptions(windows=("brain",), mirror_channel=True))
    write_dataset(make_source(root, *cases), folder, options)
    threads = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(nnunet, "multiprocessing", threads)  # processes would import torch again
    nnunet.verify_dataset_integrity(str(folder), 1)
    said = capsys.readouterr().out
    assert "verify_dataset_integrity Done" in said
    assert "Warning" not in said
    assert "Error" not in said


# cases with a reader of their own


@dataclass(frozen=True)
class Reader:
    """Reads a case as if its volumes were made here, brighter by ``offset``."""

    offset: int = 0
    mask_value: int = 1

    def __call__(self, case: SourceCase) -> LoadedCase:
        image = read_image(case.images[0])
        assert case.mask is not None
        mask = read_mask(case.mask)
        inputs = {volume.path: volume.sha256 for volume in (image, mask)}
        image = replace(image, array=image.array + np.int16(self.offset), changed=True)
        mask = replace(mask, array=mask.array.astype(np.int32) * self.mask_value, changed=True)
        taught = replace(case.case, attributes={"age_years": 33})
        return LoadedCase((image,), mask, inputs, ("a slice was rebuilt",), ("it was odd",), taught)


def test_own_reader(root: Path, folder: Path) -> None:
    cases = [make_case(root, number, reader=Reader(offset=7)) for number in range(3)]
    report = write_dataset(make_source(root, *cases), folder, replace(QUIET, num_workers=2)).report
    image = read_image(folder / "imagesTr" / "case_1_0000.nii.gz")
    np.testing.assert_array_equal(image.array, ct(1).T + 7)
    np.testing.assert_allclose(image.affine, AFFINE)
    assert image.array.dtype == np.int16
    assert read_mask(folder / "labelsTr" / "case_1.nii.gz").array.dtype == np.uint8
    entry = report["cases"]["case_1"]
    assert entry["status"] == "repaired"
    assert entry["repairs"] == ["a slice was rebuilt"]
    assert report["warnings"] == ["it was odd"] * 3
    assert read_sidecar(folder / "class_labels.json").cases["case_1"].attributes == {"age_years": 33}


def test_values_of_an_own_reader_are_checked(root: Path, folder: Path) -> None:
    with pytest.raises(InputErrors, match=r"\[unknown-mask-value\] .*expected the values \[0, 1\], got 9"):
        write_dataset(make_source(root, make_case(root, 0, reader=Reader(mask_value=9))), folder, QUIET)


def refuse_to_read(case: SourceCase) -> LoadedCase:
    raise PermissionError(13, "Permission denied", f"{case.case_id}.dcm")


def test_what_the_system_says_to_an_own_reader_is_a_fault_of_the_case(root: Path, folder: Path) -> None:
    cases = [make_case(root, number, reader=refuse_to_read) for number in (1, 2)]
    with pytest.raises(InputErrors) as caught:
        write_dataset(make_source(root, *cases), folder, QUIET)
    assert [str(error) for error in caught.value.errors] == [
        f"[unreadable-file] case_{number}.dcm: expected a readable file, got: Permission denied -> check the file"
        for number in (1, 2)
    ]


# faults, repairs and warnings


def test_every_fault_of_every_case_at_once(root: Path, folder: Path) -> None:
    cases = [make_case(root, number) for number in range(4)]
    assert cases[0].mask is not None
    cases[0].images[0].write_bytes(b"")
    save(cases[0].mask, blood() * 3)
    save(cases[2].images[0], ct(2)[:, :, :3])
    cases.append(replace(cases[3], case_id="../escape"))
    with pytest.raises(InputErrors) as caught:
        write_dataset(make_source(root, *cases), folder, QUIET)
    assert [error.code for error in caught.value.errors] == [
        "unsafe-case-id",
        "empty-file",
        "unknown-mask-value",
        "shape-differs",
    ]
    assert list(folder.parent.iterdir()) == []


def test_excluded_cases_come_with_checksums(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1)]
    save(cases[1].images[0], ct(1)[:, :, :3])
    report = write_dataset(make_source(root, *cases, exclude_faults=("shape-differs",)), folder, QUIET).report
    (excluded,) = report["excluded"]
    assert (excluded["case"], excluded["code"]) == ("case_1", "shape-differs")
    assert set(excluded["inputs"]) == {"images/case_1.nii.gz", "labels/case_1.nii.gz"}
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == ["case_0_0000.nii.gz"]
    check_schema(report, "conversion_report.json", "report")


def shifted(distance_mm: float) -> npt.NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[0, 3] += distance_mm
    return affine


def test_geometry_is_exact_unless_the_user_allows_more(root: Path, folder: Path) -> None:
    case = make_case(root, 0)
    assert case.mask is not None
    save(case.mask, blood(), shifted(0.1))
    source = make_source(root, case)
    with pytest.raises(InputErrors, match=r"\[geometry-differs\] .*within 0.001 mm, got corners 0.1 mm apart"):
        write_dataset(source, folder, QUIET)
    report = write_dataset(source, folder, replace(QUIET, tolerance_mm=0.2)).report
    assert report["counts"]["repaired"] == 0
    report = write_dataset(source, folder, replace(QUIET, repair_geometry=True, overwrite=True)).report
    assert report["cases"]["case_0"]["repairs"] == [
        "labels/case_0.nii.gz: took the geometry of the image; corners were 0.1 mm apart"
    ]
    np.testing.assert_allclose(read_mask(folder / "labelsTr" / "case_0.nii.gz").affine, AFFINE, atol=1e-6)


def test_half_a_voxel_is_no_slip(root: Path, folder: Path) -> None:
    case = make_case(root, 0)
    assert case.mask is not None
    save(case.mask, blood(), shifted(0.26))
    with pytest.raises(InputErrors, match=r"\[geometry-differs\] .*got corners 0.26 mm apart"):
        write_dataset(make_source(root, case), folder, replace(QUIET, repair_geometry=True))


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ({"a": 1, "b": 3}, r"expected the values 1, 2, ... without a gap"),
        ({"ignore": 1, "b": 2}, r"ignore being the highest"),
        ({}, r"expected the values 1, 2, ..."),
        ({"ignore": 1}, r"expected the values 1, 2, ..."),
    ],
)
def test_labels_that_nnunet_would_refuse(root: Path, folder: Path, labels: dict[str, int], fault: str) -> None:
    with pytest.raises(InputErrors, match=rf"\[bad-labels\] .*{fault}"):
        write_dataset(make_source(root, make_case(root, 0), labels=labels), folder, QUIET)


def test_without_any_mask_there_is_nothing_to_train_on(root: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"\[no-mask\] .*some of the 1 training cases, found none"):
        write_dataset(make_source(root, make_case(root, 0, mask=None)), folder, QUIET)
    with pytest.raises(InputError, match=r"\[no-training-case\]"):
        write_dataset(make_source(root, make_case(root, 0, is_test=True)), folder, QUIET)
    assert list(folder.parent.iterdir()) == []


def test_mask_and_class_that_contradict_each_other(root: Path, folder: Path) -> None:
    cases = [
        make_case(root, 0, expects_foreground=False),
        make_case(root, 1),
        make_case(root, 2, expects_foreground=True),
    ]
    assert cases[2].mask is not None
    save(cases[2].mask, blood() * 0)
    assert write_dataset(make_source(root, *cases), folder, QUIET).report["warnings"] == [
        "[mask-against-class] labels/case_0.nii.gz: expected an empty mask, since its class says so, got foreground -> "
        "look at the case; correct mask or class",
        "[mask-against-class] labels/case_2.nii.gz: expected foreground, since its class says so, got an empty mask -> "
        "look at the case; correct mask or class",
    ]


def test_ignored_voxels_contradict_no_class(root: Path, folder: Path) -> None:
    cases = [make_case(root, number, expects_foreground=number == 1) for number in range(2)]
    for case in cases:
        assert case.mask is not None
        save(case.mask, blood() * 2)
    report = write_dataset(make_source(root, *cases, labels={"hemorrhage": 1, "ignore": 2}), folder, QUIET).report
    assert report["warnings"] == []
    assert report["cases"]["case_0"]["foreground_voxels"] == 0


def test_same_image_twice_is_named(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1, is_test=True), make_case(root, 2)]
    packed = gzip.decompress(cases[0].images[0].read_bytes())
    cases[1].images[0].write_bytes(gzip.compress(packed, compresslevel=1))  # other bytes, the same voxels
    assert write_dataset(make_source(root, *cases), folder, QUIET).report["warnings"] == [
        "[duplicate-image] case_0 (training), case_1 (test): expected every image once, got the same voxels for all of "
        "them -> keep one"
    ]


def test_mirrored_mask_is_named_where_blood_is_bright(root: Path, folder: Path) -> None:
    case = make_case(root, 0)
    image, mask = ct(0), np.zeros(SHAPE, np.uint8)
    image[...] = 30
    image[0, 0, 0] = -1000
    image[:2, 1:4, 1:3] = 75
    mask[4:, 1:4, 1:3] = 1
    assert case.mask is not None
    save(case.images[0], image)
    save(case.mask, mask)
    source = make_source(root, case)
    assert write_dataset(source, folder, QUIET).report["warnings"] == []
    bright = replace(source, hyperdense_foreground=True)
    (warning,) = write_dataset(bright, folder, replace(QUIET, overwrite=True)).report["warnings"]
    assert warning.startswith("[mirrored-mask] labels/case_0.nii.gz: ")


# all or nothing


def test_dry_run_says_the_same_and_writes_nothing(root: Path, folder: Path) -> None:
    source = make_source(root, make_case(root, 0), make_case(root, 1, mask=None))
    dry = write_dataset(source, folder, replace(QUIET, dry_run=True))
    assert list(folder.parent.iterdir()) == []
    assert not dry.written
    assert dry == Conversion(folder, write_dataset(source, folder, QUIET).report, written=False)


def test_dry_run_finds_the_faults(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1, case=Case({"kind": "EDH"}))]
    with pytest.raises(InputErrors, match=r"\[unknown-class\] class_labels.json: cases/case_1"):
        write_dataset(make_source(root, *cases), folder, replace(QUIET, dry_run=True))
    cases[1].images[0].write_bytes(b"text")
    with pytest.raises(InputErrors, match=r"case_1.nii.gz"):
        write_dataset(make_source(root, *cases), folder, replace(QUIET, dry_run=True))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write files beyond a size, as it refuses on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("reader", [None, Reader()], ids=["copied", "written anew"])
def test_what_the_system_says_against_writing(root: Path, folder: Path, reader: Reader | None) -> None:
    source = make_source(root, make_case(root, 0, reader=reader))
    with (
        largest_file(50),
        pytest.raises(InputError, match=r"\[cannot-write\] .*imagesTr/case_0_0000.nii.gz: .*got: File too large -> "),
    ):
        write_dataset(source, folder, QUIET)
    assert list(folder.parent.iterdir()) == []
    write_dataset(source, folder, QUIET)


def test_failed_run_leaves_the_old_dataset(root: Path, folder: Path) -> None:
    source = make_source(root, make_case(root, 0))
    write_dataset(source, folder, QUIET)
    before = files(folder)
    source.cases[0].images[0].write_bytes(b"damaged")
    with pytest.raises(InputErrors, match=r"case_0.nii.gz"):
        write_dataset(source, folder, replace(QUIET, overwrite=True))
    assert files(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_volume_that_is_no_file_of_the_source(root: Path, folder: Path) -> None:
    """A reader may give volumes that were never a file: the report names what was read, not them."""
    case = make_case(root, 0, reader=make_up)
    report = write_dataset(make_source(root, case, make_case(root, 1)), folder, QUIET).report
    assert report["cases"]["case_0"]["inputs"] == {}
    np.testing.assert_array_equal(read_image(folder / "imagesTr" / "case_0_0000.nii.gz").array, ct(5).T)


def make_up(case: SourceCase) -> LoadedCase:
    image = Volume(ct(5).T, (5.0, 0.5, 0.5), AFFINE, Path("nowhere"), changed=True)
    return LoadedCase((image,), replace(image, array=blood().T), {})


def test_errors_of_the_source_come_with_those_of_the_files(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1)]
    cases[1].images[0].write_bytes(b"no image")
    known = InputError("missing-image", root / "images" / "case_2.nii.gz", "expected an image, found none", "add it")
    for options in (QUIET, replace(QUIET, dry_run=True)):
        with pytest.raises(InputErrors) as caught:
            write_dataset(make_source(root, *cases, errors=[known]), folder, options)
        first, second = caught.value.errors
        assert first == known
        assert second.where == str(cases[1].images[0])
        assert not folder.exists()
